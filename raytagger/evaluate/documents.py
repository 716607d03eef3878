"""Which documents are measured, and for what: splits, groups, limits and gold labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import scipy.sparse as sp

from raytagger.corpus import read_documents, select_splits
from raytagger.errors import CorpusError
from raytagger.schema import BoolArray
from raytagger.settings import SourceSettings
from raytagger.store import Store

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them


@dataclass(frozen=True)
class Asked:
    """What to measure.

    Attributes:
        split: the split of the ranking metrics; "" means `test` where documents have splits, else all.
        zero_shot_splits: the splits of ZSR and UR; those that are absent are passed over.
        group: the column by which the bootstrap draws documents; "" draws them one by one.
        limit: at most so many documents of each split, 0 for all.
        seed: of the bootstrap.
        details: keep what a report needs of every document beside the figures.
    """

    split: str = ""
    zero_shot_splits: tuple[str, ...] = ("test", "zeroshot")
    group: str = ""
    limit: int = 0
    seed: int = 0
    details: bool = False


@dataclass(frozen=True)
class Part:
    """Documents of a chunk that are measured: which count for ranking, which for zero-shot, and their groups."""

    documents: pa.Table
    in_split: BoolArray
    in_zero_shot: BoolArray
    group: np.ndarray


def survey(store: Store, source: SourceSettings) -> tuple[set[str], int]:
    """One pass before anything is tagged: the splits there are, and how many rows cannot be read."""
    names, rejects = set(), 0
    for chunk in read_documents(store, source):
        names.update(pc.unique(chunk.documents["split"]).to_pylist())
        rejects += len(chunk.rejects)
    return names - {None}, rejects


def find_split(names: set[str], asked: str) -> str:
    """The split to measure on; "" where documents have none.

    Raises:
        CorpusError: there is no such split, or none is named and there is no `test`.
    """
    if asked and asked not in names:
        raise CorpusError("the split does not exist", got=asked, expected=", ".join(sorted(names)) or "no --split")
    if asked or not names:
        return asked
    if "test" not in names:
        raise CorpusError("no split test", got=sorted(names), remedy="Name the split to measure on with --split.")
    return "test"


def read_parts(store: Store, source: SourceSettings, asked: Asked, split: str) -> Iterator[Part]:
    """The documents of the asked splits, chunk by chunk; all where the split is "".

    Raises:
        CorpusError: the documents cannot be read, or have no column of the group's name.
    """
    taken: Counter[str | None] = Counter()
    position = 0
    for chunk in read_documents(store, source):
        documents = select_splits(chunk.documents, (split, *asked.zero_shot_splits) if split else ())
        if asked.limit:
            documents = _limited(documents, taken, asked.limit)
        if not len(documents):
            continue
        names = documents["split"].to_pylist()
        own = np.arange(position, position + len(names))
        position += len(names)
        yield Part(
            documents,
            np.array([not split or name == split for name in names], bool),
            np.array([not split or name in asked.zero_shot_splits for name in names], bool),
            _groups(documents[asked.group], own) if asked.group else own,
        )


def _groups(column: pa.ChunkedArray, own: np.ndarray) -> np.ndarray:
    """The group of each document, as objects of strings; a document without one is a group by itself."""
    names = column.cast(pa.string()).to_pylist()
    groups = [f"document {own[row]}" if name is None else f"group {name}" for row, name in enumerate(names)]
    return np.array(groups, object)  # as texts of numpy's own, each would take the room of the longest


def _limited(documents: pa.Table, taken: Counter[str | None], limit: int) -> pa.Table:
    kept = []
    for row, name in enumerate(documents["split"].to_pylist()):
        taken[name] += 1
        if taken[name] <= limit:
            kept.append(row)
    return documents.take(pa.array(kept, pa.int64()))


def gold_matrix(
    label_ids: Sequence[Sequence[str] | None], index: dict[str, int]
) -> tuple[sp.csr_matrix, np.ndarray]:
    """Gold labels as bool CSR (B, L), and int64 (B,): how many of each document are outside the label set."""
    sets = [set(ids or ()) for ids in label_ids]
    rows = [sorted(index[label] for label in labels if label in index) for labels in sets]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    indices = np.array([label for row in rows for label in row], np.int64)
    matrix = sp.csr_matrix((np.ones(len(indices), bool), indices, indptr), shape=(len(rows), len(index)))
    unknown_B = np.array([len(labels) for labels in sets], np.int64) - np.diff(indptr)
    return matrix, unknown_B
