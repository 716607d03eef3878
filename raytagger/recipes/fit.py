"""`fit`: from the method's name to its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint

from raytagger.bundle import load, text_settings
from raytagger.corpus import read_documents
from raytagger.errors import SettingsError
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.fitted import Fitted, warnings_of
from raytagger.settings import FitRun
from raytagger.store import Store, join

LOOKED_AT = 200  # documents that a new bundle is tried on
GROUP = "raytagger.recipes"
# Named, not imported: PyTorch and transformers take seconds, and linear rankers need neither.
METHODS = {
    method: EntryPoint(method, f"raytagger.recipes.{method}:fit_{method}", GROUP)
    for method in ("blend", "frozen", "ofde", "xml0", "xrlinear")
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
    fitted = METHODS[run.method].load()(run, progress, say)
    warnings = warnings_of(run, fitted)
    for line in warnings:
        say(f"warning: {line}")
    share_blank = _share_blank(run, join(fitted.bundle, fitted.version))
    return replace(fitted, warnings=warnings, share_blank=share_blank)


def _share_blank(run: FitRun, bundle: str) -> float | None:
    """Of the first documents, the share to which the bundle gives no label; None without documents.

    None on GPUs too: the machine that drives the run may have none that the encoder needs.
    """
    if not run.source.documents or run.cluster.use_gpu:
        return None
    store = Store(run.storage)
    tagger = load(bundle, store)
    source = text_settings(tagger.manifest, run.source)  # a blend reads what its members were fitted on
    chunks = (chunk.documents["text"].to_pylist() for chunk in read_documents(store, source, LOOKED_AT))
    texts = next((found for found in chunks if found), [])
    return float(tagger.tag(texts, 1).empty_B.mean()) if texts else None
