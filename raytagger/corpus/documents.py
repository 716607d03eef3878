"""Documents: raw rows in; a table of `doc_id, text, labels, split, …` and the rejects with reasons out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from raytagger.corpus.cells import same_split
from raytagger.corpus.chunk import DocumentChunk
from raytagger.corpus.columns import drop_unfit, to_documents, to_splits
from raytagger.corpus.formats import read_raw
from raytagger.corpus.hints import label_hint
from raytagger.corpus.limit import RejectLimit
from raytagger.corpus.listing import list_documents
from raytagger.corpus.places import add_told, told_columns
from raytagger.corpus.roles import Roles
from raytagger.corpus.rows import STRINGS, RawChunk, Request
from raytagger.corpus.splits import refuse_missing
from raytagger.corpus.unique import FirstOfEachId
from raytagger.errors import CorpusError, SettingsError
from raytagger.schema import REJECT_SCHEMA, BoolArray
from raytagger.settings import SourceSettings
from raytagger.store import FileEntry, Store

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them

__all__ = [
    "DocumentChunk",
    "check_splits",
    "check_training_splits",
    "find_splits",
    "list_documents",
    "read_documents",
    "read_file",
    "select_splits",
]

CHUNK_ROWS = 2048


class _Reject(NamedTuple):
    position: int
    doc_id: str
    reason: str
    error: str


def read_documents(store: Store, source: SourceSettings, rows: int = CHUNK_ROWS) -> Iterator[DocumentChunk]:
    """All documents of a corpus, file by file in the order of their names; of those with one id the first.

    Raises:
        CorpusError: the corpus has no files or no rows, or no file has the column of labels or splits that
            `source.map` names; and as `read_file`.
        RejectsError: at the end, where more were rejected than `source.max_reject_share` allows.
    """
    limit, unique, roles = RejectLimit(source), FirstOfEachId(), Roles(source)
    missing = {role for role in ("labels", "split") if source.map.get(role)}
    for entry in list_documents(store, source):
        for read in read_file(store, entry, source, rows):
            chunk = unique.of(read)
            limit.add(chunk)
            missing -= {role for role in missing if roles.has(role, chunk.names)}
            yield chunk
    if not limit.read:
        raise CorpusError("the corpus has no documents", got=source.documents)
    limit.check()
    for role in sorted(missing):
        raise CorpusError(
            f"no file of {source.documents} has the column {source.map[role]}", remedy=f"Correct source.map.{role}."
        )


def read_file(store: Store, entry: FileEntry, source: SourceSettings, rows: int) -> Iterator[DocumentChunk]:
    """The documents of one file in chunks of `rows` rows; the cuts depend on the file and `rows` alone.

    Documents with one id are all there: that an id stands twice is known of a corpus, not of a file.

    Raises:
        SettingsError: `source.map`, `source.quotes` or `source.normalise` is wrong.
        CorpusError: the file is damaged, has no id or text column, or a column is of the wrong type.
    """
    roles = Roles(source)
    told = told_columns(entry.uri, roles)
    request = Request(entry.uri, rows, roles.kinds(), roles.prefix, source.quotes)
    for chunk in read_raw(store, entry, source.format, request):
        yield _check(add_told(chunk, told), entry.uri, roles)


def select_splits(documents: pa.Table, splits: tuple[str, ...]) -> pa.Table:
    """The rows whose split is among `splits`, as `same_split` compares; all rows where `splits` is empty."""
    if not splits:
        return documents
    names = [name for name in pc.unique(documents["split"]).to_pylist() if name is not None]
    wanted = [name for name in names if any(same_split(asked, name) for asked in splits)]
    return documents.filter(pc.is_in(documents["split"], pa.array(wanted, pa.string())))


def check_splits(store: Store, source: SourceSettings, splits: tuple[str, ...]) -> None:
    """Looks for each split that is asked for: one that is not there would be passed over.

    Raises:
        CorpusError: one is not there; and as `read_file`.
    """
    there = find_splits(store, source, splits)
    if splits and not there:
        raise CorpusError(
            f"no document of {source.documents} has a split, and splits are asked for",
            got=", ".join(splits),
            expected=f"a column {Roles(source).split or 'split'}, folders split=NAME, or files named by splits",
            remedy="Leave --split (retag.splits) out, or name the column by source.map.split. What `fit` held out "
            "for want of splits (source.holdout) is measured by `evaluate` alone.",
        )
    refuse_missing(splits, there, "--split (retag.splits)")


def check_training_splits(store: Store, source: SourceSettings) -> None:
    """Looks for the splits that a run names itself; without a `val`, validation documents are drawn.

    Raises:
        SettingsError: both are the same one.
        CorpusError: one is not there; and as `read_file`.
    """
    train, validation = source.train_split, source.validation_split
    if same_split(train, validation) or same_split(validation, train):
        raise SettingsError(
            "source.train_split and source.validation_split are the same, so that every figure would be too good",
            got=f"{train} and {validation}",
            expected="two splits; where no document has the split val, a share of the training documents is drawn",
        )
    named = {role: getattr(source, role) for role in ("train_split", "validation_split")}
    own = {role: name for role, name in named.items() if name != getattr(SourceSettings, role)}
    there = find_splits(store, source, own.values())
    for role, name in own.items():
        refuse_missing((name,), there, f"source.{role}")


def find_splits(store: Store, source: SourceSettings, asked: Collection[str]) -> Counter[str]:
    """The documents of each split, as far as was read until each that is asked for was seen; mostly not far."""
    there: Counter[str] = Counter()
    for names in _read_splits(store, source) if asked else ():
        there.update(names)
        if all(any(same_split(one, name) for name in there) for one in asked):
            break
    return there


def _read_splits(store: Store, source: SourceSettings) -> Iterator[list[str]]:
    """The splits of a corpus's documents, chunk by chunk; of the files' columns ids and splits alone are read."""
    roles = Roles(source)
    kinds = {name: kind for name, kind in roles.kinds().items() if name in (*roles.ids, roles.split)}
    for entry in list_documents(store, source):
        request = Request(entry.uri, CHUNK_ROWS, kinds, quotes=source.quotes)
        for chunk in read_raw(store, entry, source.format, request):
            if chunk.positions:
                chunk = drop_unfit(add_told(chunk, told_columns(entry.uri, roles)), roles)
                yield pc.drop_null(to_splits(chunk, entry.uri, roles)).to_pylist()


def _check(chunk: RawChunk, uri: str, roles: Roles) -> DocumentChunk:
    name, hint = uri.rsplit("/", 1)[-1], label_hint(chunk, roles)
    if not chunk.positions and not chunk.table.num_columns:
        rejects = _name_rejects(chunk, name)
        return DocumentChunk(chunk.start, _no_documents(roles.source), _rejects(rejects), chunk.names, hint)
    chunk = drop_unfit(chunk, roles)
    rejects = _name_rejects(chunk, name)
    table = to_documents(chunk, uri, roles)
    good = np.ones(len(table), bool)
    for reason, flawed, error in _flaws(table, roles.source):
        for row in np.flatnonzero(flawed & good):
            position = chunk.positions[int(row)]
            doc_id = table["doc_id"][int(row)].as_py() or f"{name}:{position}"
            rejects.append(_Reject(position, doc_id, reason, error))
        good &= ~flawed
    documents = table.filter(pa.array(good))
    table = _rejects(rejects)
    return DocumentChunk(chunk.start, documents, table, chunk.names, hint, chunk.left_out, chunk.over_lines)


def _name_rejects(chunk: RawChunk, name: str) -> list[_Reject]:
    """The rows that could not be read; one without an id goes by its file and line."""
    return [
        _Reject(row.position, row.doc_id or f"{name}:{row.position}", row.reason, row.error) for row in chunk.bad
    ]


def _flaws(table: pa.Table, source: SourceSettings) -> list[tuple[str, BoolArray, str]]:
    """Reason, the rows concerned, and what to tell; the first that concerns a row is its reason."""
    ids, texts = pc.fill_null(table["doc_id"], ""), pc.fill_null(table["text"], "")
    too_long = f"the text is longer than source.max_bytes = {source.max_bytes}"
    return [
        ("no_id", np.asarray(pc.equal(ids, "")), "the row has no doc_id"),
        ("empty_text", np.asarray(pc.equal(pc.utf8_trim_whitespace(texts), "")), "the text is empty"),
        ("too_long", np.asarray(pc.greater(pc.binary_length(texts), source.max_bytes)), too_long),
    ]


def _no_documents(source: SourceSettings) -> pa.Table:
    kinds = {"doc_id": pa.string(), "text": pa.string(), "labels": STRINGS, "split": pa.string()}
    kinds |= {name: pa.null() for name in source.columns if name not in kinds}
    return pa.table({name: pa.array([], kind) for name, kind in kinds.items()})


def _rejects(rows: list[_Reject]) -> pa.Table:
    rows = sorted(rows)
    columns = {
        "doc_id": [row.doc_id for row in rows],
        "stage": ["read"] * len(rows),
        "reason": [row.reason for row in rows],
        "error": [row.error for row in rows],
        "run_id": [""] * len(rows),
    }
    return pa.table(columns, schema=REJECT_SCHEMA)
