"""Raw columns in; a document's columns out, of one type and spelling whatever wrote the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from raytagger.corpus.cells import clean_ids, clean_lists, clean_splits
from raytagger.corpus.roles import Roles
from raytagger.corpus.rows import COLUMNS, STRINGS, BadRow, Kind, RawChunk, without_rows
from raytagger.corpus.unicode import normalise_column
from raytagger.errors import CorpusError
from raytagger.schema import BoolArray

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them


def to_documents(chunk: RawChunk, uri: str, roles: Roles) -> pa.Table:
    """`doc_id, text, labels, split` and the columns to carry.

    Raises:
        CorpusError: a column is missing or of the wrong type.
    """
    table, form = chunk.table, roles.source.normalise
    columns: dict[str, Any] = {
        "doc_id": clean_ids(_id_column(chunk, uri, roles), form),
        "text": normalise_column(_text_column(chunk, uri, roles), form),
        "labels": clean_lists(_label_column(chunk, uri, roles), form),
    }
    columns["split"] = to_splits(chunk, uri, roles)
    for name in roles.source.columns:
        if roles.column(name) not in table.column_names:
            raise _no_column(uri, chunk, roles.column(name))
        columns.setdefault(name, table[roles.column(name)])
    return pa.table(columns)


def to_splits(chunk: RawChunk, uri: str, roles: Roles) -> pa.ChunkedArray:
    """The split of each row, null where none is told.

    Raises:
        CorpusError: the column is of the wrong type.
    """
    if roles.split not in chunk.table.column_names:
        return _nulls(chunk, pa.string())
    return clean_splits(_typed(chunk.table, roles.split, pa.string(), uri), roles.source)


def drop_unfit(chunk: RawChunk, roles: Roles) -> RawChunk:
    """A chunk without the rows whose strings are not UTF-8 or whose labels are none: Parquet checks neither.

    Columns that the user named as labels become lists and marks.
    """
    chunk = _drop_invalid_utf8(chunk, roles)
    named = [roles.labels] if "labels" in roles.source.map and roles.labels else []
    marks = [name for name in chunk.table.column_names if _is_mark(name, roles)]
    for name, kind in [*((name, Kind.LABELS) for name in named), *((name, Kind.MARK) for name in marks)]:
        if name in chunk.table.column_names and not _fits(chunk.table[name].type, kind):
            chunk = _convert(chunk, name, kind, roles)
    return chunk


def _fits(found: pa.DataType, kind: Kind) -> bool:
    if kind is Kind.MARK:
        return pa.types.is_boolean(found) or pa.types.is_null(found)
    return is_string_list(found) or not (is_string(plain(found)) or pa.types.is_integer(plain(found)))


def _convert(chunk: RawChunk, name: str, kind: Kind, roles: Roles) -> RawChunk:
    """A column's values as the kind has them, without the rows that do not fit."""
    column, place = chunk.table[name], chunk.table.column_names.index(name)
    if kind is Kind.MARK and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        numbers = np.asarray(pc.fill_null(column, 0).combine_chunks())
        wrong = {
            int(row): f"{numbers[row]!s} is neither 0 nor 1"
            for row in np.flatnonzero((numbers != 0) & (numbers != 1))
        }
        valid = np.asarray(pc.is_valid(column).combine_chunks())
        converted = pa.array(numbers == 1, pa.bool_(), mask=~valid)
    else:
        kept, wrong = [], {}
        for row, value in enumerate(column.to_pylist()):
            try:
                kept.append(COLUMNS[kind].convert(value))
            except TypeError as error:
                kept.append(None)
                wrong[row] = str(error)
        converted = pa.array(kept, COLUMNS[kind].kind)
    chunk = replace(chunk, table=chunk.table.set_column(place, name, converted))
    return _without(chunk, {row: ("wrong_type", f"{name}: {error}") for row, error in wrong.items()}, roles)


def _without(chunk: RawChunk, wrong: dict[int, tuple[str, str]], roles: Roles) -> RawChunk:
    """A chunk without some rows, which become bad ones with a reason and an error."""
    bad = {
        row: BadRow(chunk.positions[row], reason, error, _readable_id(chunk.table, row, roles))
        for row, (reason, error) in wrong.items()
    }
    return without_rows(chunk, bad)


def _id_column(chunk: RawChunk, uri: str, roles: Roles) -> pa.ChunkedArray:
    for name in roles.ids:
        if name in chunk.table.column_names:
            if pa.types.is_integer(chunk.table[name].type):
                return chunk.table[name].cast(pa.string())
            return _typed(chunk.table, name, pa.string(), uri)
    if "label_id" in chunk.names:
        raise CorpusError(
            f"{uri} is a label file among the documents",
            got=list(chunk.names),
            expected="a column doc_id or id",
            remedy="Name it by source.labels, or move it out of the folder.",
        )
    raise _no_column(uri, chunk, roles.ids[0] if "id" in roles.source.map else "doc_id or id")


def _text_column(chunk: RawChunk, uri: str, roles: Roles) -> pa.ChunkedArray:
    for name in roles.texts:
        if name not in chunk.table.column_names:
            raise _no_column(uri, chunk, name)
    parts = [_typed(chunk.table, name, pa.string(), uri) for name in roles.texts]
    if len(parts) == 1:
        return parts[0]
    # An empty field leaves no separator behind.
    parts = [pc.if_else(pc.equal(pc.utf8_trim_whitespace(part), ""), None, part) for part in parts]
    # Arrow 26 drops a row where all are null, so that one of them must not be.
    parts[0] = pc.if_else(pc.is_null(pc.coalesce(*parts)), "", parts[0])
    return pc.binary_join_element_wise(*parts, ". ", null_handling="skip")


def _label_column(chunk: RawChunk, uri: str, roles: Roles) -> pa.ChunkedArray:
    if roles.prefix:
        return _marked_labels(chunk, roles)
    if roles.labels not in chunk.table.column_names:
        return _nulls(chunk, STRINGS)
    return _typed(chunk.table, roles.labels, STRINGS, uri)


def _marked_labels(chunk: RawChunk, roles: Roles) -> pa.ChunkedArray:
    """The labels whose columns are marked, by the columns' names without the prefix; null where no column says."""
    names = [name for name in chunk.table.column_names if _is_mark(name, roles)]
    if not names:
        return _nulls(chunk, STRINGS)
    marks = [chunk.table[name].cast(pa.bool_()) for name in names]
    marked_BL: BoolArray = np.stack(
        [np.asarray(pc.fill_null(mark, False).combine_chunks(), bool) for mark in marks], 1
    )
    known_BL: BoolArray = np.stack([np.asarray(pc.is_valid(mark).combine_chunks(), bool) for mark in marks], 1)
    ids = pa.array([name.removeprefix(roles.prefix) for name in names], pa.string())
    offsets = np.concatenate([[0], np.cumsum(marked_BL.sum(1))]).astype(np.int32)
    lists = pa.ListArray.from_arrays(
        pa.array(offsets), ids.take(pa.array(np.nonzero(marked_BL)[1])), mask=pa.array(~known_BL.any(1))
    )
    return pa.chunked_array([lists], STRINGS)


def _is_mark(name: str, roles: Roles) -> bool:
    return bool(roles.prefix) and name.startswith(roles.prefix) and name not in roles.kinds()


def _nulls(chunk: RawChunk, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(len(chunk.table), kind)], kind)


def _typed(table: pa.Table, name: str, kind: pa.DataType, uri: str) -> pa.ChunkedArray:
    column = table[name]
    found = plain(column.type)
    if not (pa.types.is_null(found) or (is_string_list(found) if kind == STRINGS else is_string(found))):
        raise CorpusError(
            f"{uri}: column {name} has the wrong type",
            got=str(column.type),
            expected=str(kind),
            remedy="Convert the column, or name another by source.map or source.fields.",
        )
    if pa.types.is_list_view(found) or pa.types.is_large_list_view(found):
        # Arrow 26 casts a view with a null in it to wrong lists.
        return pa.chunked_array([pa.array(column.to_pylist(), pa.list_(found.value_type)).cast(kind)])
    return column.cast(kind)


def plain(kind: pa.DataType) -> pa.DataType:
    """A type without the dictionary around it."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_string_list(kind: pa.DataType) -> bool:
    """Whether a type is a list of strings or integers, of whichever layout, also by a dictionary."""
    if not any(is_kind(kind) for is_kind in LISTS):
        return False
    inner = plain(kind.value_type)
    return is_string(inner) or pa.types.is_integer(inner) or pa.types.is_null(inner)


def is_string(kind: pa.DataType) -> bool:
    """Whether a type is a string's, of whichever layout."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _drop_invalid_utf8(chunk: RawChunk, roles: Roles) -> RawChunk:
    """Arrow takes a Parquet file's word for it that strings are UTF-8."""
    wrong: dict[int, tuple[str, str]] = {}
    for name in chunk.table.column_names:
        try:
            chunk.table[name].validate(full=True)
        except pa.ArrowInvalid:
            for row, error in _undecodable(chunk.table[name]):
                wrong.setdefault(row, ("not_utf8", f"{name}: {error}"))
    return _without(chunk, wrong, roles)


def _undecodable(column: pa.ChunkedArray) -> Iterable[tuple[int, str]]:
    for row, value in enumerate(column):
        try:
            value.as_py()
        except UnicodeDecodeError as error:
            yield row, str(error)


def _readable_id(table: pa.Table, row: int, roles: Roles) -> str:
    name = next((name for name in roles.ids if name in table.column_names), None)
    try:
        return "" if name is None else str(table[name][row].as_py() or "")
    except UnicodeDecodeError:
        return ""


def _no_column(uri: str, chunk: RawChunk, name: str) -> CorpusError:
    return CorpusError(
        f"{uri} has no column {name}",
        got=list(chunk.names),
        remedy="Name the file's columns by source.map (source.map.text=body), or the text's by source.fields.",
    )


LISTS = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
