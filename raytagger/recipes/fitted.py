"""What `fit` tells of itself, and the stage that all recipes with a label bank share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from raytagger.bisect import tag_bisecting
from raytagger.bundle import peek_manifest
from raytagger.calibration import check_thresholds
from raytagger.corpus import LabelSet
from raytagger.corpus.limit import RejectLimit
from raytagger.corpus.report import CorpusReport
from raytagger.corpus.splits import HELD_OUT
from raytagger.encoders import Encoder
from raytagger.encoders.lazy import loaded
from raytagger.errors import SettingsError
from raytagger.labels import LabelBank
from raytagger.labels.bank import SLAB_TEXTS, Banked
from raytagger.progress import Progress
from raytagger.schema import FloatArray
from raytagger.search import MOST_TAGS, build_index, choose_index, recall_warning, save_index
from raytagger.settings import FitRun, ThresholdSettings
from raytagger.store import Store, check_writable, join, parent
from raytagger.tables import blank_part, blank_warning


@dataclass(frozen=True)
class Fitted:
    """What `fit` did: where the bundle is, how many labels were encoded, and what the corpus looked like.

    `share_blank`: of some documents, those of which the bundle knows nothing; None without documents. `tags`: which
    labels it keeps as tags.
    """

    bundle: str
    version: str
    labels: int
    trained_labels: int
    encoded_labels: int
    report: CorpusReport
    seconds: float
    warnings: tuple[str, ...] = ()
    share_blank: float | None = None
    tags: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {**vars(self), "report": self.report.as_dict()}

    def line(self) -> str:
        """For a person."""
        line = (
            f"{self.labels:,} labels, {self.trained_labels:,} of them with training documents, "
            f"{self.encoded_labels:,} encoded now, {self.seconds:.1f} s: {join(self.bundle, self.version)}"
        )
        lines = [line, self.tags] if self.tags else [line]
        if self.share_blank is not None:
            lines += [f"documents: {blank_part(self.share_blank)}", *blank_warning(self.share_blank)]
        return "\n".join(lines)


def check_places(run: FitRun) -> None:
    """Refuses a run without labels, with an impossible rule of tags, or whose output cannot be written."""
    if not run.source.labels:
        raise SettingsError("source.labels is empty", expected="a label file")
    if not run.output.bundle:
        raise SettingsError("output.bundle is empty", expected="a folder or s3:// prefix")
    if not 0 <= run.source.holdout < 1:
        raise SettingsError("source.holdout", got=run.source.holdout, expected="0 to less than 1")
    if not 0 <= run.search.k <= MOST_TAGS:
        raise SettingsError(
            "search.k", got=run.search.k, expected=f"1 to {MOST_TAGS}, or 0 for as many as documents have"
        )
    check_thresholds(run.threshold, run.search.k or MOST_TAGS)
    if run.search.threshold is not None and run.threshold.mode not in (ThresholdSettings.mode, "fixed"):
        raise SettingsError(
            f"search.threshold = {run.search.threshold} contradicts threshold.mode",
            got=run.threshold.mode,
            expected="one of the two",
            remedy="Leave search.threshold unset, or set threshold.mode = 'fixed'.",
        )
    for place in filter(None, (run.output.bundle, run.labels.bank)):
        inputs = (run.source.documents, run.source.labels)
        check_writable(Store(run.storage), place, folder=True, apart_from=inputs)


def warnings_of(run: FitRun, fitted: Fitted) -> tuple[str, ...]:
    """What a person must know of the documents that were fitted on, and of the bundle's index."""
    untrained = run.source.documents and not fitted.trained_labels
    told = ("no gold label was trained on: all labels are unseen",) if untrained else ()
    return told + _of_splits(run, fitted.report) + index_warnings(run, fitted)


def index_warnings(run: FitRun, fitted: Fitted) -> tuple[str, ...]:
    """That the index misses too many labels, if it does."""
    manifest = peek_manifest(join(fitted.bundle, fitted.version), Store(run.storage))
    return tuple(recall_warning(manifest.get("index")))


def _of_splits(run: FitRun, report: CorpusReport) -> tuple[str, ...]:
    if not report.without_splits:
        return ()
    if not run.source.holdout:
        return ("no document has a split and source.holdout = 0: none is left to evaluate on",)
    share = f"{run.source.holdout:g}"
    return (
        f"no document has a split: a share of {share} is held out as split {HELD_OUT}, by hash of the id "
        "(source.holdout); `evaluate` measures on it",
    )


def held_out_share(run: FitRun, report: CorpusReport) -> float:
    """The share of the corpus that was held out for want of splits; 0 where documents have splits."""
    return run.source.holdout if report.without_splits else 0.0


def index_labels(
    run: FitRun, label_LD: FloatArray, folder: Path, queries: Callable[[], FloatArray]
) -> dict[str, Any] | None:
    """Builds the index that `search.index` asks for into a bundle's folder; what the manifest keeps, or None.

    Args:
        run: the run.
        label_LD: float32 (L, D), unit rows.
        folder: of the bundle.
        queries: gives vectors of some documents to measure its recall with, float32 (Q, D); Q may be 0.
    """
    kind = choose_index(run.search.index, len(label_LD), "dense")
    if kind == "exact":
        return None
    query_QD = queries()
    index, facts = build_index(label_LD, kind, run.train.seed, query_QD if len(query_QD) else None)
    save_index(index, folder)
    return facts


def bank_of(run: FitRun) -> str:
    """Where a run's label embeddings are kept: beside its bundle, unless it names a place."""
    return run.labels.bank or join(parent(run.output.bundle), "bank")


def embed_labels(run: FitRun, store: Store, encoder: Encoder, labels: LabelSet, progress: Progress) -> Banked:
    """Label embeddings through the bank; only texts that it does not know are encoded.

    Retired labels have theirs too: a newer label set may make them active again without an encoder.
    """
    bank = LabelBank(store, bank_of(run))
    prompt = run.labels.prompt

    def encode(texts: Sequence[str]) -> FloatArray:
        # The encoder gets the prompt by itself: some models leave it out of the pooling.
        return encoder.encode([text.removeprefix(prompt) for text in texts], prompt).vector_BD

    return bank.embed([prompt + text for text in labels.full_texts], encoder.identity, encode, progress)


def missing_labels(run: FitRun, store: Store, encoder: Encoder, labels: LabelSet) -> bool:
    """Whether the bank lacks a label."""
    prompted = [run.labels.prompt + text for text in labels.full_texts]
    return bool(LabelBank(store, bank_of(run)).missing(prompted, encoder.identity))


def licence_of(run: FitRun, store: Store, encoder: Encoder) -> str:
    """An encoder's licence, as the bank keeps it."""
    return LabelBank(store, bank_of(run)).licence(encoder.identity, lambda: encoder.licence)


class Embedded(NamedTuple):
    """Document embeddings, float32 (good documents, E), and which those are, int64; the others are rejects."""

    vector_GE: FloatArray
    good: np.ndarray


def embed_documents(
    run: FitRun,
    store: Store,
    encoder: Encoder,
    documents: Mapping[str, str],
    report: CorpusReport,
    progress: Progress,
) -> Embedded:
    """Document embeddings through the bank, as labels' are; what the encoder refuses is a reject, as in `tag`.

    Args:
        run: source, encoder, and where the bank is.
        store: storage options.
        encoder: of documents.
        documents: ids and texts.
        report: counts the rejects.
        progress: told of texts that were encoded.

    Raises:
        RejectsError: it refuses more than `source.max_reject_share` allows.
    """
    bank, prompt = LabelBank(store, bank_of(run)), run.encoder.prompt
    limit = RejectLimit(run.source, report.n_documents)
    prompted, refused = [prompt + text for text in documents.values()], dict[str, str]()
    missing = bank.missing(prompted, encoder.identity)
    encoder = loaded(encoder) if missing else encoder  # that it cannot be loaded is no document's fault
    for start in range(0, len(missing), SLAB_TEXTS):
        slab = [text.removeprefix(prompt) for text in missing[start : start + SLAB_TEXTS]]
        encoded = tag_bisecting(lambda some: (encoder.encode(some, prompt).vector_BD, 0), slab)
        if encoded.rows:
            good = [prompt + slab[row] for row in encoded.rows]
            bank.add(good, encoder.identity, np.concatenate(encoded.parts))
        bad = {prompt + slab[found.row]: found for found in encoded.rejected}
        for doc_id, text in zip(documents, prompted, strict=True) if bad else ():
            if text in bad:  # texts that are alike are encoded once
                refused[doc_id] = bad[text].reason
                limit.reject(doc_id, bad[text].reason, bad[text].error)
        limit.check("What was encoded is kept.")
        progress("document bank", start + len(slab), len(missing))
    report.refuse(refused)
    good = np.array([row for row, doc_id in enumerate(documents) if doc_id not in refused], np.int64)
    found = bank.embed([prompted[row] for row in good], encoder.identity, lambda _: np.zeros((0, 0), np.float32))
    return Embedded(found.vector_LD, good)
