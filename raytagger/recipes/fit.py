"""`fit`: from the method's name to its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raytagger.bundle import load
from raytagger.corpus import read_documents
from raytagger.errors import SettingsError
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.blend import fit_blend
from raytagger.recipes.fitted import Fitted
from raytagger.recipes.frozen import fit_frozen
from raytagger.recipes.ofde import fit_ofde
from raytagger.recipes.xml0 import fit_xml0
from raytagger.recipes.xrlinear import fit_xrlinear
from raytagger.settings import FitRun
from raytagger.store import Store, join

LOOKED_AT = 200  # documents that a new bundle is tried on
METHODS = {
    "blend": fit_blend,
    "frozen": fit_frozen,
    "ofde": fit_ofde,
    "xml0": fit_xml0,
    "xrlinear": fit_xrlinear,
}


def fit(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> Fitted:
    """Runs the recipe of `run.method`.

    Args:
        run: what to fit.
        progress: told within stages.
        say: gets what a person wants to know meanwhile: the estimate, each evaluation, what is resumed.

    Raises:
        SettingsError: the method is unknown.
    """
    if run.method not in METHODS:
        raise SettingsError("method", got=run.method, expected=", ".join(METHODS))
    fitted = METHODS[run.method](run, progress, say)
    return replace(fitted, share_blank=_share_blank(run, join(fitted.bundle, fitted.version)))


def _share_blank(run: FitRun, bundle: str) -> float | None:
    """Of the first documents, the share to which the bundle gives no label; None without documents."""
    if not run.source.documents:
        return None
    store = Store(run.storage)
    chunks = (chunk.documents["text"].to_pylist() for chunk in read_documents(store, run.source, LOOKED_AT))
    texts = next((found for found in chunks if found), [])
    return float(load(bundle, store).tag(texts, 1).empty_B.mean()) if texts else None
