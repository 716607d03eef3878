"""`fit`: from the method's name to its recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np

from raytagger.bisect import tag_bisecting
from raytagger.bundle import load, peek_manifest, text_settings
from raytagger.bundle.kept import told_tags
from raytagger.corpus import check_training_splits, read_documents
from raytagger.errors import RaytaggerError, SettingsError
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.fitted import Fitted, warnings_of
from raytagger.settings import FitRun
from raytagger.store import Store, join

LOOKED_AT = 64  # documents that a new bundle is tried on
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
        CorpusError: a split that the run names is not there.
    """
    if run.source.documents:
        check_training_splits(Store(run.storage), run.source)
    fitted = run_recipe(run, progress, say)
    share_blank, refused = _tried(run, join(fitted.bundle, fitted.version))
    warnings = (*warnings_of(run, fitted), *refused)
    for line in warnings:
        say(f"warning: {line}")
    tags = told_tags(peek_manifest(join(fitted.bundle, fitted.version), Store(run.storage)))
    return replace(fitted, warnings=warnings, share_blank=share_blank, tags=tags)


def run_recipe(run: FitRun, progress: Progress, say: Callable[[str], None]) -> Fitted:
    """The recipe alone, without a look at its bundle; raises as `fit`."""
    if run.method not in METHODS:
        raise SettingsError("method", got=run.method, expected=", ".join(METHODS))
    return METHODS[run.method].load()(run, progress, say)


def _tried(run: FitRun, bundle: str) -> tuple[float | None, tuple[str, ...]]:
    """As `_try_out`; whatever fails there is a warning too, since the bundle is published already."""
    try:
        return _try_out(run, bundle)
    except Exception as error:  # noqa: BLE001 - an error would say that the fit has failed
        told = str(error) if isinstance(error, RaytaggerError) else f"{type(error).__name__}: {error}"
        return None, (f"the bundle is published, but could not be tried on documents: {told}",)


def _try_out(run: FitRun, bundle: str) -> tuple[float | None, tuple[str, ...]]:
    """Of the first documents, the share to which the bundle gives no label, and a warning if it cannot tag some.

    The share is None without documents that it can tag. None on GPUs too: the machine that drives the run may have
    none that the encoder needs.
    """
    if not run.source.documents or run.cluster.use_gpu:
        return None, ()
    store = Store(run.storage)
    tagger = load(bundle, store)
    source = text_settings(tagger.manifest, run.source)  # a blend reads what its members were fitted on
    chunks = (chunk.documents for chunk in read_documents(store, source, LOOKED_AT))
    documents = next((found for found in chunks if len(found)), None)
    if documents is None:
        return None, ()
    # As in `tag`: a document that an encoder refuses costs no other, and the bundle is published already.
    tagged = tag_bisecting(lambda some: (tagger.tag(some, 1).empty_B, 0), documents["text"].to_pylist())
    share_blank = float(np.concatenate(tagged.parts).mean()) if tagged.parts else None
    if not tagged.rejected:
        return share_blank, ()
    row, _, error = tagged.rejected[0]
    count = f"{len(tagged.rejected):,} of the first {len(documents):,} documents cannot be tagged"
    return share_blank, (f"{count}; the first, {documents['doc_id'][row].as_py()}: {error}",)
