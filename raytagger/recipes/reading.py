"""A pass over the corpus for training: documents of the training and validation splits, with their gold labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.corpus import LabelSet, list_documents, read_documents
from raytagger.corpus.report import CorpusReport
from raytagger.corpus.splits import select_training
from raytagger.corpus.unique import hash_ids
from raytagger.corpus.xmc_filter import pair_files
from raytagger.errors import CorpusError
from raytagger.progress import Progress
from raytagger.schema import BoolArray
from raytagger.settings import FitRun, SourceSettings
from raytagger.store import Store, absolute

VALIDATION_SHARE = 0.05  # of the training documents where no validation split exists


class Part(NamedTuple):
    """Some documents: ids, texts, known gold labels in ascending order, splits, and hashed ids.

    `has_splits`: some document of the corpus has a split, as far as it has been read.
    """

    ids: list[str]
    texts: list[str]
    gold: list[list[int]]
    split: list[str | None]
    hash_B: np.ndarray
    has_splits: bool


class Read(NamedTuple):
    """The corpus without its texts, N documents of the training and validation splits.

    Attributes:
        gold: bool CSR (N, L).
        train_N: int64, documents of the training split.
        validation_N: int64, documents of the validation split.
        hash_N: uint64 (N,), of their ids.
    """

    gold: sp.csr_matrix
    train_N: np.ndarray
    validation_N: np.ndarray
    hash_N: np.ndarray

    @property
    def has_label_N(self) -> BoolArray:
        """Bool (N,), documents with a label of the label set."""
        return np.diff(self.gold.indptr) > 0


class Collected:
    """What is kept of every part that is read."""

    def __init__(self) -> None:
        self._gold: list[list[int]] = []
        self._split: list[str | None] = []
        self._hashes = [np.zeros(0, np.uint64)]
        self._has_splits = False

    def add(self, part: Part) -> None:
        """Keeps all but the texts."""
        self._gold += part.gold
        self._split += part.split
        self._hashes.append(part.hash_B)
        self._has_splits = part.has_splits

    def read(self, run: FitRun, labels: int) -> Read:
        """The whole corpus; a twentieth of the training documents is split off where no validation split exists."""
        gold = to_matrix(self._gold, labels)
        train_N, validation_N = _part(run, self._split, self._has_splits, np.diff(gold.indptr) > 0)
        return Read(gold, train_N, validation_N, np.concatenate(self._hashes))


def read_training(
    run: FitRun, store: Store, labels: LabelSet, report: CorpusReport, progress: Progress
) -> Iterator[Part]:
    """The documents of the training and validation splits, as `corpus.splits.select_training` takes them."""
    has_splits, read = False, 0
    named = (run.source.train_split, run.source.validation_split)
    for chunk in read_documents(store, run.source):
        report.add(chunk)
        wanted, has_splits = select_training(chunk.documents, run.source, named, has_splits)
        gold = trainable_gold(labels, wanted["labels"].to_pylist(), report)
        ids, texts = wanted["doc_id"].to_pylist(), wanted["text"].to_pylist()
        yield Part(ids, texts, gold, wanted["split"].to_pylist(), hash_ids(ids), has_splits)
        read += len(chunk.documents)
        progress("reading", read)


def trainable_gold(
    labels: LabelSet, lists: Sequence[Sequence[str] | None], report: CorpusReport
) -> list[list[int]]:
    """The known gold labels of documents, ascending; those marked `seen = false` are left out and counted."""
    known = [sorted({labels.index[name] for name in names or () if name in labels.index}) for names in lists]
    marked = set(np.flatnonzero(labels.marked_unseen_L).tolist())
    if not marked:
        return known
    report.findings["marked_unseen"].add(labels.ids[label] for row in known for label in row if label in marked)
    return [[label for label in row if label not in marked] for row in known]


def check_trainable(read: Read, report: CorpusReport) -> None:
    """Refuses a corpus without a training document that has a label.

    Raises:
        CorpusError: says how many documents there are, and which columns look like labels where none is named so.
    """
    if not read.has_label_N[read.train_N].any():
        raise CorpusError(
            "no document to train on",
            got=f"{len(read.train_N):,} documents of the training split, none with a label that may be trained; "
            f"splits: {report.told_splits()}",
            expected="documents with labels of the label set that are not marked seen = false",
            remedy=report.hint or "Check source.train_split, and that documents and labels name the same ids.",
        )


def _part(
    run: FitRun, split: list[str | None], has_splits: bool, has_label_N: BoolArray
) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation documents, int64; the twentieth is drawn from those that have a label."""
    names = np.array([name or "" for name in split], object)
    is_validation = names == run.source.validation_split
    is_train = names == run.source.train_split if has_splits else ~is_validation
    train_N, validation_N = np.flatnonzero(is_train), np.flatnonzero(is_validation)
    labelled_N = train_N[has_label_N[train_N]]
    if not len(validation_N) and len(labelled_N) > 1:
        count = max(1, round(VALIDATION_SHARE * len(labelled_N)))
        chosen = np.random.default_rng([run.train.seed, 3]).choice(labelled_N, count, replace=False)
        return np.setdiff1d(train_N, chosen), np.sort(chosen)
    return train_N, validation_N


def to_matrix(gold: list[list[int]], labels: int) -> sp.csr_matrix:
    """Gold labels as bool CSR (N, L)."""
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in gold])]).astype(np.int64)
    indices = np.array([label for row in gold for label in row], np.int64)
    return sp.csr_matrix((np.ones(len(indices), bool), indices, indptr), shape=(len(gold), labels))


def corpus_files(run: FitRun, store: Store) -> list[tuple[str, int, str]]:
    """Places, sizes and times of the corpus's files, for fingerprints."""
    documents = list_documents(store, run.source)
    return [(absolute(entry.uri), entry.size, entry.stamp) for entry in (*documents, *pair_files(store, documents))]


def source_of_key(run: FitRun) -> SourceSettings:
    """How documents are read, for fingerprints; the label set has one of its own, wherever its file lies."""
    return replace(run.source, documents=absolute(run.source.documents), labels="")


def corpus_bytes(run: FitRun, store: Store) -> int:
    """What decides whether a run is small enough for this process alone."""
    return sum(entry.size for entry in list_documents(store, run.source))
