"""Documents: raw rows in; a table of `doc_id, text, labels, split, …` and the rejects with reasons out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from raytagger.corpus.compression import strip_compression
from raytagger.corpus.formats import read_raw
from raytagger.corpus.rows import STRINGS, Kind, RawChunk
from raytagger.corpus.xmc_json import LABEL_FILE
from raytagger.errors import CorpusError
from raytagger.schema import REJECT_SCHEMA, BoolArray
from raytagger.settings import SourceSettings
from raytagger.store import FileEntry, Store

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them

CHUNK_ROWS = 2048
ID_NAMES = ("doc_id", "id", "uid")


@dataclass(frozen=True)
class DocumentChunk:
    """Consecutive documents of a file.

    Attributes:
        start: position of the chunk's first row in its file.
        documents: `doc_id` and `text` (string), `labels` (list<string>) and `split` (string), both null where
            absent, then the columns that `source.columns` names.
        rejects: rows of `REJECT_SCHEMA` with an empty `run_id`.
    """

    start: int
    documents: pa.Table
    rejects: pa.Table


class _Reject(NamedTuple):
    position: int
    doc_id: str
    reason: str
    error: str


def list_documents(store: Store, source: SourceSettings) -> list[FileEntry]:
    """The files that `source.documents` names.

    Beside an `lbl.json` of the extreme-classification repository, it and sparse `.txt` files are left out.

    Raises:
        CorpusError: there is none.
    """
    if not source.documents:
        raise CorpusError("source.documents is empty", expected="a file, a folder or an s3:// prefix")
    entries = store.list(source.documents)
    if not entries:
        raise CorpusError("the corpus has no files", got=source.documents)
    names = [strip_compression(entry.uri.rsplit("/", 1)[-1]) for entry in entries]
    if LABEL_FILE not in names or len(entries) == 1:
        return entries
    pairs = zip(entries, names, strict=True)
    return [entry for entry, name in pairs if name != LABEL_FILE and not name.endswith(".txt")]


def read_documents(store: Store, source: SourceSettings, rows: int = CHUNK_ROWS) -> Iterator[DocumentChunk]:
    """All documents of a corpus, file by file in the order of their names.

    Raises:
        CorpusError: the corpus has no files or no rows; and as `read_file`.
    """
    read = 0
    for entry in list_documents(store, source):
        for chunk in read_file(store, entry, source, rows):
            read += len(chunk.documents) + len(chunk.rejects)
            yield chunk
    if not read:
        raise CorpusError("the corpus has no documents", got=source.documents)


def read_file(store: Store, entry: FileEntry, source: SourceSettings, rows: int) -> Iterator[DocumentChunk]:
    """The documents of one file in chunks of `rows` rows; the cuts depend on the file and `rows` alone.

    Raises:
        CorpusError: the file is damaged, has no id or text column, or a column is of the wrong type.
    """
    for chunk in read_raw(store, entry, source.format, rows, _kinds(source)):
        yield _check(chunk, entry.uri, source)


def select_splits(documents: pa.Table, splits: tuple[str, ...]) -> pa.Table:
    """The rows whose split is among `splits`; all rows where `splits` is empty."""
    if not splits:
        return documents
    return documents.filter(pc.is_in(documents["split"], pa.array(splits, pa.string())))


def _kinds(source: SourceSettings) -> dict[str, Kind]:
    kinds = dict.fromkeys(source.columns, Kind.ANY) | dict.fromkeys(ID_NAMES, Kind.ID)
    kinds |= {"labels": Kind.IDS, "split": Kind.TEXT}
    return kinds | dict.fromkeys(source.fields or ("text",), Kind.TEXT)


def _check(chunk: RawChunk, uri: str, source: SourceSettings) -> DocumentChunk:
    name = uri.rsplit("/", 1)[-1]
    rejects = [
        _Reject(row.position, row.doc_id or f"{name}:{row.position}", row.reason, row.error) for row in chunk.bad
    ]
    if not chunk.positions and not chunk.table.num_columns:
        return DocumentChunk(chunk.start, _no_documents(source), _rejects(rejects))
    chunk = _drop_invalid_utf8(chunk, name, rejects)
    table = _columns(chunk, uri, source)
    good = np.ones(len(table), bool)
    for reason, flawed, error in _flaws(table, source):
        for row in np.flatnonzero(flawed & good):
            position = chunk.positions[int(row)]
            doc_id = table["doc_id"][int(row)].as_py() or f"{name}:{position}"
            rejects.append(_Reject(position, doc_id, reason, error))
        good &= ~flawed
    return DocumentChunk(chunk.start, table.filter(pa.array(good)), _rejects(rejects))


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


def _columns(chunk: RawChunk, uri: str, source: SourceSettings) -> pa.Table:
    table = chunk.table
    columns = {"doc_id": _id_column(chunk, uri), "text": _text_column(chunk, uri, source)}
    for name, kind in (("labels", STRINGS), ("split", pa.string())):
        present = name in table.column_names
        columns[name] = _typed(table, name, kind, uri) if present else pa.nulls(len(table), kind)
    for name in source.columns:
        if name not in table.column_names:
            raise _no_column(uri, chunk, name)
        columns.setdefault(name, table[name])
    return pa.table(columns)


def _id_column(chunk: RawChunk, uri: str) -> pa.ChunkedArray:
    for name in ID_NAMES:
        if name in chunk.table.column_names:
            if pa.types.is_integer(chunk.table[name].type):
                return chunk.table[name].cast(pa.string())
            return _typed(chunk.table, name, pa.string(), uri)
    raise _no_column(uri, chunk, "doc_id or id")


def _text_column(chunk: RawChunk, uri: str, source: SourceSettings) -> pa.ChunkedArray:
    names = source.fields or ("text",)
    for name in names:
        if name not in chunk.table.column_names:
            raise _no_column(uri, chunk, name)
    parts = [_typed(chunk.table, name, pa.string(), uri) for name in names]
    if len(parts) == 1:
        return parts[0]
    # An empty field leaves no separator behind.
    parts = [pc.if_else(pc.equal(pc.utf8_trim_whitespace(part), ""), None, part) for part in parts]
    # Arrow 26 drops a row where all are null, so that one of them must not be.
    parts[0] = pc.if_else(pc.is_null(pc.coalesce(*parts)), "", parts[0])
    return pc.binary_join_element_wise(*parts, ". ", null_handling="skip")


def _typed(table: pa.Table, name: str, kind: pa.DataType, uri: str) -> pa.ChunkedArray:
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    fits = pa.types.is_null(column.type) or (
        _is_string_list(column.type) if kind == STRINGS else _is_string(column.type)
    )
    if not fits:
        raise CorpusError(
            f"{uri}: column {name} has the wrong type",
            got=str(column.type),
            expected=str(kind),
            remedy="Convert the column, or name other columns by source.fields.",
        )
    return column.cast(kind)


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_string_list(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return False
    inner = kind.value_type
    return _is_string(inner) or pa.types.is_integer(inner) or pa.types.is_null(inner)


def _drop_invalid_utf8(chunk: RawChunk, name: str, rejects: list[_Reject]) -> RawChunk:
    """Drops the rows whose strings are not UTF-8: Arrow takes a Parquet file's word for it."""
    table, wrong = chunk.table, {}
    for column_name in table.column_names:
        try:
            table[column_name].validate(full=True)
        except pa.ArrowInvalid:
            for row, error in _undecodable(table[column_name]).items():
                wrong.setdefault(row, f"{column_name}: {error}")
    if not wrong:
        return chunk
    for row, error in wrong.items():
        position = chunk.positions[row]
        rejects.append(_Reject(position, _readable_id(table, row) or f"{name}:{position}", "not_utf8", error))
    kept = [row for row in range(len(table)) if row not in wrong]
    positions = [chunk.positions[row] for row in kept]
    return replace(chunk, table=table.take(pa.array(kept, pa.int64())), positions=positions)


def _undecodable(column: pa.ChunkedArray) -> dict[int, str]:
    wrong: dict[int, str] = {}
    for row, value in enumerate(column):
        try:
            value.as_py()
        except UnicodeDecodeError as error:
            wrong[row] = str(error)
    return wrong


def _readable_id(table: pa.Table, row: int) -> str:
    name = next((name for name in ID_NAMES if name in table.column_names), None)
    try:
        return "" if name is None else str(table[name][row].as_py() or "")
    except UnicodeDecodeError:
        return ""


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


def _no_column(uri: str, chunk: RawChunk, name: str) -> CorpusError:
    return CorpusError(
        f"{uri} has no column {name}",
        got=list(chunk.names),
        remedy="Rename the column, or name the text's columns by source.fields.",
    )
