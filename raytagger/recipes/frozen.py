"""The frozen tagger: nothing is learnt but term frequencies, and every label is embedded once.

count     one pass over the training documents: terms, and documents of each label
embed     label texts through the frozen encoder, into the bank
publish   labels, vocabulary, label matrix and encoder as a bundle
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from raytagger.bundle import write_card, write_labels, write_trained
from raytagger.bundle.frozen import uses_encoder, uses_terms
from raytagger.corpus import LabelSet, read_documents
from raytagger.corpus.labels import read_source_labels
from raytagger.corpus.report import CorpusReport
from raytagger.corpus.roles import Roles
from raytagger.corpus.splits import select_training
from raytagger.corpus.unique import hash_ids
from raytagger.encoders import lazy_encoder, save_encoder
from raytagger.errors import CorpusError, SettingsError
from raytagger.progress import Progress, silent, unsaid
from raytagger.recipes.fitted import (
    Fitted,
    check_places,
    embed_documents,
    embed_labels,
    held_out_share,
    index_labels,
    licence_of,
)
from raytagger.recipes.reading import trainable_gold
from raytagger.recipes.tags import publish_tagger
from raytagger.schema import FloatArray
from raytagger.search import choose_index
from raytagger.search.approximate import QUERIES_AT_MOST
from raytagger.settings import FitRun
from raytagger.store import Store
from raytagger.vectors import TermCounts, Vocabulary


@dataclass
class Counts:
    """What the pass over the corpus gathers.

    Attributes:
        report: over all documents.
        count_L: int64 (L,), training documents of each label.
        terms: of the training documents.
        hashes: uint64, of their ids.
        texts: of the first of them by id, to measure an index with.
    """

    report: CorpusReport
    count_L: np.ndarray
    terms: TermCounts = field(default_factory=TermCounts)
    hashes: list[np.ndarray] = field(default_factory=lambda: [np.zeros(0, np.uint64)])
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def hash_N(self) -> np.ndarray:
        """uint64 (N,), of all training documents."""
        return np.concatenate(self.hashes)


@dataclass(frozen=True)
class _Side:
    """The labels' side: licences of the encoder, how many labels were encoded, and what is kept of their index."""

    licences: dict[str, str]
    encoded: int
    index: dict[str, Any] | None


def fit_frozen(run: FitRun, progress: Progress = silent, say: Callable[[str], None] = unsaid) -> Fitted:
    """Makes a bundle of kind `frozen`.

    Without `source.documents` the terms come from the labels alone and no label counts as seen.

    Raises:
        SettingsError: no labels or no output are named, or the search kind or encoder is unknown.
        CorpusError: documents or labels cannot be read.
    """
    del say  # nothing takes long enough to be announced
    _check(run)
    store, started = Store(run.storage), time.perf_counter()
    labels = read_source_labels(store, run.source)
    counts = _count(run, store, labels, progress)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_labels(folder, labels, counts.count_L)
        write_trained(folder, counts.hash_N)
        if uses_terms(run.search.kind):
            counts.terms.add(labels.full_texts)
            Vocabulary.from_counts(counts.terms).save(folder / "terms")
        side = _embed(run, store, labels, counts, folder, progress)
        facts = _facts(run, labels, counts, folder, side)
        version = publish_tagger(folder, facts, run, store, labels, counts.report, progress)
    trained = int((counts.count_L > 0).sum())
    seconds = time.perf_counter() - started
    return Fitted(run.output.bundle, version, len(labels), trained, side.encoded, counts.report, seconds)


def _check(run: FitRun) -> None:
    check_places(run)
    if run.labels.encoder not in ("", run.encoder.path):
        raise SettingsError(
            "labels.encoder must be the document encoder for the frozen method",
            got=run.labels.encoder,
            expected=run.encoder.path,
            remedy="Documents and labels are compared in one space; a trained method can join two.",
        )
    uses_encoder(run.search.kind)
    if choose_index(run.search.index, 0, "dense") != "exact" and run.search.kind != "dense":
        # A mean of cosines needs every label's.
        raise SettingsError("search.index", got=run.search.index, expected=f"auto or exact for {run.search.kind}")


def _count(run: FitRun, store: Store, labels: LabelSet, progress: Progress) -> Counts:
    """One pass over the corpus: terms and label counts of the training split, and the report over all of it.

    Raises:
        CorpusError: documents are named, but none is for training, or they are to have labels and none is known.
    """
    counts = Counts(CorpusReport(labels), np.zeros(len(labels), np.int64))
    if not run.source.documents:
        return counts
    read, has_splits, has_labels, roles = 0, False, False, Roles(run.source)
    for chunk in read_documents(store, run.source):
        counts.report.add(chunk)
        has_labels = has_labels or roles.has("labels", chunk.names)
        training, now = select_training(chunk.documents, run.source, (run.source.train_split,), has_splits)
        if now and not has_splits:  # none of the documents counted so far is for training
            has_splits, counts = True, Counts(counts.report, np.zeros(len(labels), np.int64))
        counts.hashes.append(hash_ids(training["doc_id"].to_pylist()))
        some = training.slice(0, QUERIES_AT_MOST - len(counts.texts))
        counts.texts |= zip(some["doc_id"].to_pylist(), some["text"].to_pylist(), strict=True)
        if uses_terms(run.search.kind):
            counts.terms.add(training["text"].to_pylist())
        for known in trainable_gold(labels, training["labels"].to_pylist(), counts.report):
            counts.count_L[known] += 1
        read += len(chunk.documents)
        progress("counting", read)
    _check_counts(counts, run.source.train_split)
    if run.search.kind == "popularity" or has_labels or counts.report.hint:
        _check_gold(counts)
    return counts


def _check_counts(counts: Counts, train_split: str) -> None:
    if not len(counts.hash_N):
        raise CorpusError(
            "no document to train on",
            got=f"{counts.report.n_documents:,} documents: {counts.report.told_splits()}",
            expected=f"documents of the split {train_split}",
            remedy="Check source.train_split.",
        )


def _check_gold(counts: Counts) -> None:
    """Documents that never had labels are fine, since most searches need none; lost ones are told."""
    report, found = counts.report, counts.report.findings
    if counts.count_L.any() or found["marked_unseen"].count:
        return
    if found["unknown_labels"].count:
        raise CorpusError(
            "no gold label is in the label set",
            got=", ".join(found["unknown_labels"].examples),
            expected="label ids of the label file",
            remedy="Check that documents and labels name the same ids.",
        )
    raise CorpusError(
        "no training document has a gold label",
        got=report.hint or f"{len(counts.hash_N):,} documents of the training split",
        expected="labels in a column labels, or in the one that source.map.labels names",
        remedy='Name the column; or say by source.map.labels = "" that there are none: then nothing is trained '
        "and all labels are unseen (popularity needs some).",
    )


def _embed(run: FitRun, store: Store, labels: LabelSet, counts: Counts, folder: Path, progress: Progress) -> _Side:
    """Puts the label matrix, its index and the encoder into the folder."""
    if not uses_encoder(run.search.kind):
        return _Side({}, 0, None)
    encoder = lazy_encoder(run.encoder, store)
    banked = embed_labels(run, store, encoder, labels, progress)
    np.save(folder / "label_LD.npy", banked.vector_LD.astype(np.float16))
    save_encoder(encoder, run.encoder, folder / "encoder")

    def queries() -> FloatArray:
        if not counts.texts:
            return banked.vector_LD[:0]
        return embed_documents(run, store, encoder, counts.texts, counts.report, progress).vector_GE

    index = index_labels(run, banked.vector_LD, folder, queries) if run.search.kind == "dense" else None
    return _Side({run.encoder.path: licence_of(run, store, encoder)}, banked.encoded, index)


def _facts(run: FitRun, labels: LabelSet, counts: Counts, folder: Path, side: _Side) -> dict[str, Any]:
    trained = {labels.ids[row]: int(counts.count_L[row]) for row in np.flatnonzero(counts.count_L)}
    write_card(
        folder,
        f"Frozen tagger over {len(labels)} labels",
        [
            ("search", run.search.kind),
            ("labels with training documents", len(trained)),
            ("licences of the models inside", side.licences or "none"),
        ],
    )
    return {
        "kind": "frozen",
        "label_set": labels.fingerprint,
        "labels": len(labels),
        "trained_labels": trained,
        "train_documents": len(counts.hash_N),
        "held_out": held_out_share(run, counts.report),
        "calibrated": False,
        "metrics": {},
        "index": side.index,
        "licences": side.licences,
    }
