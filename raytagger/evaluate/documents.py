"""Which documents are measured, and for what: splits, groups, limits and gold labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from raytagger.bundle import Tagger
from raytagger.bundle.trained import are_among, trained_hashes
from raytagger.corpus import read_documents, select_splits
from raytagger.corpus.cells import same_split
from raytagger.corpus.limit import RejectLimit
from raytagger.corpus.splits import HELD_OUT, ZERO_SHOT_SPLITS, held_out, list_splits, refuse_missing
from raytagger.errors import CorpusError
from raytagger.schema import BoolArray
from raytagger.settings import SourceSettings
from raytagger.store import Store

ZERO_SHOT_OPTION = "--zero-shot-split"


@dataclass(frozen=True)
class Asked:
    """What to measure.

    Attributes:
        split: the split of the ranking metrics; "" means `test` where documents have splits, else all.
        zero_shot_splits: the splits of ZSR and UR, which must exist; None: those of `test` and `zeroshot` that do.
        group: the column by which the bootstrap draws documents; "" draws them one by one.
        limit: at most so many documents of each split, 0 for all.
        allow_trained: measure documents although the bundle was trained on all of them.
        held_out: the share of documents without splits that is measured, 0 for all; None: as `fit` held out.
        seed: of the bootstrap.
        details: keep what a report needs of every document beside the figures.
    """

    split: str = ""
    zero_shot_splits: tuple[str, ...] | None = None
    group: str = ""
    limit: int = 0
    allow_trained: bool = False
    held_out: float | None = None
    seed: int = 0
    details: bool = False

    @property
    def zero_shot(self) -> tuple[str, ...]:
        """The splits of ZSR and UR that are looked for."""
        return ZERO_SHOT_SPLITS if self.zero_shot_splits is None else self.zero_shot_splits


@dataclass(frozen=True)
class Part:
    """Documents of a chunk that are measured: which count for ranking, which for zero-shot, and their groups."""

    documents: pa.Table
    in_split: BoolArray
    in_zero_shot: BoolArray
    group: np.ndarray

    def take(self, rows: range) -> Part:
        """Some neighbours among these documents."""
        own = slice(rows.start, rows.stop)
        documents = self.documents.slice(rows.start, len(rows))
        return Part(documents, self.in_split[own], self.in_zero_shot[own], self.group[own])


@dataclass
class Survey:
    """What one pass over the documents finds before anything is tagged.

    Attributes:
        documents: how many each split has; None for those without one.
        trained: of these, how many the bundle was trained on.
        limit: counts what is read, with the rows that cannot be and later documents of an id.
        filtered: gold labels of each split that the XMC repository's `filter_labels` files take away.
    """

    limit: RejectLimit
    documents: Counter[str | None] = field(default_factory=Counter)
    trained: Counter[str | None] = field(default_factory=Counter)
    filtered: Counter[str | None] = field(default_factory=Counter)

    @property
    def names(self) -> dict[str, int]:
        """The splits there are, and the documents of each."""
        return {name: count for name, count in self.documents.items() if name is not None}

    def held_out(self, tagger: Tagger) -> float:
        """The share of these documents that the bundle's fit held out for want of splits; 0 where it did not."""
        fitted_on_these = self.trained.total() and not self.names
        return float(tagger.manifest.get("held_out", 0)) if fitted_on_these else 0.0


@dataclass(frozen=True)
class Selection:
    """Which documents are measured.

    Attributes:
        split: of the ranking metrics; "" for all documents.
        zero_shot_splits: of ZSR and UR; not looked at where `split` is "".
        held_out: where documents have no splits, the share that is measured, by hash of the id; 0 for all.
    """

    split: str
    zero_shot_splits: tuple[str, ...] = ()
    held_out: float = 0.0

    @property
    def name(self) -> str:
        """Of the split that is measured; "" for all documents."""
        return HELD_OUT if self.held_out else self.split

    def of(self, documents: pa.Table) -> pa.Table:
        """The documents of a chunk that are measured at all."""
        if self.held_out:
            return documents.filter(pa.array(held_out(documents["doc_id"].to_pylist(), self.held_out)))
        return select_splits(documents, (self.split, *self.zero_shot_splits) if self.split else ())


def survey(store: Store, source: SourceSettings, tagger: Tagger) -> Survey:
    """One pass before anything is tagged: splits, documents the bundle was trained on, rejected rows."""
    found, hashes = Survey(RejectLimit(source)), trained_hashes(tagger)
    for chunk in read_documents(store, source):
        splits = chunk.documents["split"].to_pylist()
        found.documents.update(splits)
        found.limit.add(chunk)
        if chunk.left_out:
            found.filtered[splits[0]] += chunk.left_out  # such a file is of one split
        trained_B = are_among(hashes, chunk.documents["doc_id"].to_pylist())
        found.trained.update(splits[row] for row in np.flatnonzero(trained_B))
    return found


def select(found: Survey, asked: Asked, tagger: Tagger) -> Selection:
    """The documents to measure: those of a split, and where none has one, all that the bundle was not trained on.

    Where `fit` held out a share of these same documents, it is the split `test`.

    Raises:
        CorpusError: there is no such split, none is named and there is no `test`, or the bundle was trained on all
            of the documents to measure and no split is named.
    """
    share = found.held_out(tagger) if asked.held_out is None else asked.held_out
    if share and (not asked.split or same_split(asked.split, HELD_OUT)):
        refuse_missing(
            asked.zero_shot_splits or (), {HELD_OUT: round(share * found.documents.total())}, ZERO_SHOT_OPTION
        )
        return Selection("", (), share)
    if asked.split and not found.names:
        raise _without_splits(asked.split, share, bool(found.trained.total()))
    split = find_split(found.names, asked.split)
    measured = found.documents[split] if split else found.documents.total()
    trained = found.trained[split] if split else found.trained.total()
    if measured and trained == measured and not (asked.split or asked.allow_trained):
        raise CorpusError(
            "the bundle was trained on all of these documents",
            got=f"{trained:,} documents" + (f" of split {split}" if split else ""),
            expected="documents that it does not know",
            remedy="Evaluate on others, fit with source.holdout above 0, or measure them all the same by "
            "--allow-trained.",
        )
    return Selection(split, zero_shot_splits(found.names, asked.zero_shot_splits))


def zero_shot_splits(there: Mapping[str, int], asked: Sequence[str] | None) -> tuple[str, ...]:
    """The splits of ZSR and UR among those which documents have; None: those of the usual ones that there are.

    Raises:
        CorpusError: one that is asked for is not there.
    """
    refuse_missing(asked or (), there, ZERO_SHOT_OPTION)
    return splits_there(there, ZERO_SHOT_SPLITS if asked is None else asked)


def splits_there(names: Iterable[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Those of the splits which documents have that are asked for, as `same_split` compares."""
    return tuple(name for name in sorted(names) if any(same_split(one, name) for one in asked))


def _without_splits(split: str, share: float, fitted_on_these: bool) -> CorpusError:
    """Why there is no such split where no document has any, and what to ask for instead."""
    if share:
        why, remedy = f"of these, fit held out {share:g} as {HELD_OUT}", f"Ask for --split {HELD_OUT}, or for none."
    else:
        why = "fit held none of these out" + (" (source.holdout = 0)" if fitted_on_these else "")
        remedy = (
            "Leave --split out to measure all of the documents; or give them a column split, or fit with "
            f"source.holdout above 0, which holds a share out as {HELD_OUT}."
        )
    return CorpusError(f"the split does not exist: no document has a split, and {why}", got=split, remedy=remedy)


def find_split(names: Mapping[str, int], asked: str) -> str:
    """The split to measure on; "" where documents have none.

    Raises:
        CorpusError: there is no such split, or none is named and there is no `test`.
    """
    if asked:
        refuse_missing((asked,), names, "--split")
        return splits_there(names, (asked,))[0]
    if not names:
        return ""
    if "test" not in names:
        remedy = "Name the split to measure on with --split."
        raise CorpusError("no split test", got=list_splits(names), remedy=remedy)
    return "test"


def read_parts(store: Store, source: SourceSettings, asked: Asked, selection: Selection) -> Iterator[Part]:
    """The documents of a selection, chunk by chunk.

    Raises:
        CorpusError: the documents cannot be read, or have no column of the group's name.
    """
    taken: Counter[str | None] = Counter()
    position, split = 0, selection.split
    for chunk in read_documents(store, source):
        documents = limited(selection.of(chunk.documents), taken, asked.limit)
        if not len(documents):
            continue
        names = documents["split"].to_pylist()
        own = np.arange(position, position + len(names))
        position += len(names)
        yield Part(
            documents,
            np.array([not split or name == split for name in names], bool),
            np.array([not split or name in selection.zero_shot_splits for name in names], bool),
            _groups(documents[asked.group], own) if asked.group else own,
        )


def _groups(column: pa.ChunkedArray, own: np.ndarray) -> np.ndarray:
    """The group of each document, as objects of strings; a document without one is a group by itself."""
    names = column.cast(pa.string()).to_pylist()
    groups = [f"document {own[row]}" if name is None else f"group {name}" for row, name in enumerate(names)]
    return np.array(groups, object)  # as texts of numpy's own, each would take the room of the longest


def limited(documents: pa.Table, taken: Counter[str | None], limit: int) -> pa.Table:
    """At most so many documents of each split, 0 for all; `taken` counts them from chunk to chunk."""
    kept = []
    for row, name in enumerate(documents["split"].to_pylist() if limit else ()):
        taken[name] += 1
        if taken[name] <= limit:
            kept.append(row)
    return documents.take(pa.array(kept, pa.int64())) if limit else documents


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
