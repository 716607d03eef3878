"""A pass over the corpus for training: documents of the training and validation splits, with their gold labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.corpus import LabelSet, list_documents, read_documents
from raytagger.corpus.report import CorpusReport
from raytagger.progress import Progress
from raytagger.schema import BoolArray
from raytagger.settings import FitRun
from raytagger.store import Store

VALIDATION_SHARE = 0.05  # of the training documents where no validation split exists


class Part(NamedTuple):
    """Some documents: texts, known gold labels in ascending order, and splits."""

    texts: list[str]
    gold: list[list[int]]
    split: list[str | None]


def read_training(
    run: FitRun, store: Store, labels: LabelSet, report: CorpusReport, progress: Progress
) -> Iterator[Part]:
    """The documents of the training and validation splits; where no document has a split, all are for training."""
    has_splits, read = False, 0
    named = (run.source.train_split, run.source.validation_split)
    for chunk in read_documents(store, run.source):
        report.add(chunk)
        documents = chunk.documents
        texts, lists = documents["text"].to_pylist(), documents["labels"].to_pylist()
        split = documents["split"].to_pylist()
        has_splits = has_splits or any(split)
        wanted = [row for row, name in enumerate(split) if name in named or (not has_splits and name is None)]
        read += len(texts)
        known = [{labels.index[label] for label in lists[row] or () if label in labels.index} for row in wanted]
        yield Part([texts[row] for row in wanted], [sorted(row) for row in known], [split[row] for row in wanted])
        progress("reading", read)


def part_by_split(
    run: FitRun, split: list[str | None], has_label_N: BoolArray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation documents, int64; a twentieth is split off where no validation split exists.

    Args:
        run: the names of the splits, and the seed of the twentieth.
        split: of each document.
        has_label_N: bool (N,); the twentieth is drawn from these documents alone.
    """
    names = np.array([name or "" for name in split], object)
    is_validation = names == run.source.validation_split
    is_train = names == run.source.train_split if any(split) else ~is_validation
    train_N, validation_N = np.flatnonzero(is_train), np.flatnonzero(is_validation)
    labelled_N = train_N if has_label_N is None else train_N[has_label_N[train_N]]
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
    """Names, sizes and times of the corpus's files, for fingerprints."""
    return [(entry.uri, entry.size, entry.stamp) for entry in list_documents(store, run.source)]


def corpus_bytes(run: FitRun, store: Store) -> int:
    """What decides whether a run is small enough for this process alone."""
    return sum(entry.size for entry in list_documents(store, run.source))
