"""Rows on their way to columns: what a reader is asked for, what it yields, how values are typed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from raytagger.corpus.cells import label_cell
from raytagger.store import Store

STRINGS = pa.list_(pa.string())
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MARKS = {"": None, "0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
FLAGS = {**MARKS, "no": 0, "yes": 1}


class Kind(Enum):
    """What a column must hold."""

    ID = auto()  # a string, or an integer that becomes one
    IDS = auto()  # a list of these
    LABELS = auto()  # such a list, or one id; for columns that the user named as labels
    MARK = auto()  # 0 or 1, whether the column's label is the document's
    TEXT = auto()  # a string
    FLAG = auto()  # true or false, however people write it
    ANY = auto()  # carried through as it is


@dataclass(frozen=True)
class Request:
    """What a format's reader is asked for.

    Attributes:
        uri: where the file lies; some formats tell the split by its name.
        rows: rows of a chunk.
        kinds: the columns to deliver where the file has them, and what each must hold.
        prefix: columns whose names begin so are delivered too, as marks; none where it is empty.
        quotes: whether delimited text has fields in double quotes: always, never, auto.
        pairs: rows of the file, from 0, to labels that are not to count for them.
        language: of a vocabulary's labels, as `source.language`.
        store: where the file lies, for formats that spread a document over several files.
    """

    uri: str
    rows: int
    kinds: Mapping[str, Kind]
    prefix: str = ""
    quotes: str = "auto"
    pairs: Mapping[int, frozenset[str]] = field(default_factory=dict)
    language: str = "en"
    store: Store = field(default_factory=Store)

    def choose(self, names: Iterable[str]) -> dict[str, Kind]:
        """Those of a file's columns that are asked for, those of `kinds` first and in its order."""
        names = list(dict.fromkeys(names))
        chosen = {name: kind for name, kind in self.kinds.items() if name in set(names)}
        marks = [name for name in names if self.prefix and name.startswith(self.prefix)]
        return {**chosen, **{name: Kind.MARK for name in marks if name not in chosen}}

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.uri.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class BadRow:
    """A row that could not be read: its line or row in the file from 1, why, and its id where one is known."""

    position: int
    reason: str
    error: str
    doc_id: str = ""


@dataclass(frozen=True)
class RawChunk:
    """Consecutive rows of a file.

    Attributes:
        start: how many rows stand before.
        table: raw columns.
        positions: where each row of `table` stands in the file: its line, as an editor counts, or its row, from 1.
        bad: the rows that could not be read.
        names: all columns of the file, asked for or not, as far as they are known.
        marks: those of them that hold nothing but 0 and 1, as far as was looked.
        left_out: gold labels that were left out by the pairs of the request.
        over_lines: ids of the rows of delimited text that take several lines; "" where one is not known.
    """

    start: int
    table: pa.Table
    positions: list[int]
    bad: list[BadRow] = field(default_factory=list)
    names: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    left_out: int = 0
    over_lines: tuple[str, ...] = ()


Format = Callable[[BinaryIO, Request], Iterator[RawChunk]]


class Rows(NamedTuple):
    """Consecutive rows before they become columns."""

    start: int
    values: list[dict[str, Any]]
    positions: list[int]
    bad: list[BadRow]


class Column(NamedTuple):
    """A column's Arrow type, and what brings a value to it or raises TypeError."""

    kind: pa.DataType
    convert: Callable[[Any], Any]


def chunked(lines: Iterable[bytes], rows: int) -> Iterator[tuple[int, list[bytes]]]:
    """Lines in lists of `rows`, with the position of the first."""
    iterator, start = iter(lines), 0
    while chunk := list(islice(iterator, rows)):
        yield start, chunk
        start += len(chunk)


def choose_columns(kinds: Mapping[str, Kind], head: list[dict[str, Any]]) -> dict[str, Column]:
    """The columns to deliver: those asked for that the head of the file has.

    A column of kind ANY takes its type from the head: boolean, integer, number, string or list of strings;
    all else, and what has no value there, becomes JSON text.
    """
    present = {name for value in head for name in value}
    return {
        name: infer_column([value.get(name) for value in head]) if kind is Kind.ANY else COLUMNS[kind]
        for name, kind in kinds.items()
        if name in present
    }


def tabulate(
    rows: Rows, columns: Mapping[str, Column], names: tuple[str, ...], marks: tuple[str, ...] = ()
) -> RawChunk:
    """Rows as columns. A row with a value that does not fit its column is a bad row."""
    wrong: dict[int, BadRow] = {}
    arrays: dict[str, Any] = {}
    for name, column in columns.items():
        items = [None] * len(rows.values)
        for row, value in enumerate(rows.values):
            try:
                items[row] = column.convert(value.get(name))
            except TypeError as error:
                wrong.setdefault(row, BadRow(rows.positions[row], "wrong_type", f"{name}: {error}"))
        try:
            arrays[name] = pa.array(items, column.kind)
        except UnicodeEncodeError:
            arrays[name] = _without_surrogates(name, items, column, rows.positions, wrong)
    ids = next((arrays[name] for name, column in columns.items() if column.convert is to_id), None)
    for row, flaw in wrong.items():
        doc_id = ids[row].as_py() if ids is not None else None
        rows.bad.append(BadRow(flaw.position, flaw.reason, flaw.error, doc_id or ""))
    table, positions = pa.table(arrays), rows.positions
    if wrong:
        kept = [row for row in range(len(positions)) if row not in wrong]
        table, positions = table.take(pa.array(kept, pa.int64())), [positions[row] for row in kept]
    return RawChunk(rows.start, table, positions, sorted(rows.bad, key=_position), names, marks)


def without_rows(chunk: RawChunk, bad: Mapping[int, BadRow]) -> RawChunk:
    """A chunk without some rows of its table, which are bad ones."""
    if not bad:
        return chunk
    kept = [row for row in range(len(chunk.positions)) if row not in bad]
    table, positions = chunk.table.take(pa.array(kept, pa.int64())), [chunk.positions[row] for row in kept]
    return replace(chunk, table=table, positions=positions, bad=[*chunk.bad, *bad.values()])


def infer_column(items: list[Any]) -> Column:
    """The column for carried values, by the values themselves."""
    known = [item for item in items if item is not None]
    if not known:
        return COLUMNS[Kind.ANY]
    if all(isinstance(item, bool) for item in known):
        return Column(pa.bool_(), to_boolean)
    if all(isinstance(item, str) for item in known):
        return COLUMNS[Kind.TEXT]
    if all(_is_integer(item) for item in known):
        return Column(pa.int64(), to_integer)
    if all(_is_integer(item) or isinstance(item, float) for item in known):
        return Column(pa.float64(), to_number)
    if all(isinstance(item, list) and all(isinstance(part, str) for part in item) for item in known):
        return COLUMNS[Kind.IDS]
    return COLUMNS[Kind.ANY]


def to_id(item: Any) -> str | None:
    """A string, or an integer as one."""
    if item is None or isinstance(item, str):
        return item
    if _is_integer(item):
        return str(item)
    raise TypeError(f"{item!r:.100} is neither a string nor an integer")


def to_ids(item: Any) -> list[str] | None:
    """A list of strings or integers."""
    if item is None:
        return None
    if not isinstance(item, list) or None in item:
        raise TypeError(f"{item!r:.100} is not a list of strings")
    return [part if isinstance(part, str) else str(to_id(part)) for part in item]


def to_labels(item: Any) -> list[str] | None:
    """A list of strings or integers, one of these, or a list or a missing value as a program prints it."""
    if isinstance(item, str):
        item = label_cell(item)
    elif _is_integer(item):
        item = [item]
    return to_ids(item)


def to_text(item: Any) -> str | None:
    """A string."""
    if item is None or isinstance(item, str):
        return item
    raise TypeError(f"{item!r:.100} is not a string")


def to_boolean(item: Any) -> bool | None:
    """True or false."""
    if item is None or isinstance(item, bool):
        return item
    raise TypeError(f"{item!r:.100} is neither true nor false")


def to_flag(item: Any) -> bool | None:
    """True or false, 1 or 0, also as text, yes or no; blank is none."""
    return _to_mark(item, FLAGS, "neither true nor false")


def to_mark(item: Any) -> bool | None:
    """0 or 1, true or false, also as text; blank is none."""
    return _to_mark(item, MARKS, "neither 0 nor 1")


def _to_mark(item: Any, spelled: Mapping[str, int | None], otherwise: str) -> bool | None:
    if isinstance(item, str):
        item = spelled.get(item.strip().lower(), item)
    if item is None or item != item:  # not a number, where pandas has none
        return None
    if isinstance(item, int | float) and item in (0, 1):
        return bool(item)
    raise TypeError(f"{item!r:.100} is {otherwise}")


def to_integer(item: Any) -> int | None:
    """An integer of 64 bits."""
    if item is None or (_is_integer(item) and -(1 << 63) <= item < 1 << 63):
        return item
    raise TypeError(f"{item!r:.100} is not an integer of 64 bits")


def to_number(item: Any) -> float | None:
    """A number."""
    if item is None or isinstance(item, float):
        return item
    if _is_integer(item) and abs(item) < 1 << 1023:
        return float(item)
    raise TypeError(f"{item!r:.100} is not a number")


def to_json(item: Any) -> str | None:
    """A string as it is, all else as JSON."""
    return item if item is None or isinstance(item, str) else json.dumps(item)


def _is_integer(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def _position(row: BadRow) -> int:
    return row.position


def _without_surrogates(
    name: str, items: list[Any], column: Column, positions: list[int], wrong: dict[int, BadRow]
) -> pa.Array:
    """Half a surrogate pair, which JSON's escapes can spell, is no text: its row is a bad row."""
    for row, item in enumerate(items):
        try:
            pa.array([item], column.kind)
        except UnicodeEncodeError as error:
            wrong.setdefault(row, BadRow(positions[row], "not_utf8", f"{name}: {error}"))
            items[row] = None
    return pa.array(items, column.kind)


COLUMNS = {
    Kind.ID: Column(pa.string(), to_id),
    Kind.IDS: Column(STRINGS, to_ids),
    Kind.LABELS: Column(STRINGS, to_labels),
    Kind.MARK: Column(pa.bool_(), to_mark),
    Kind.TEXT: Column(pa.string(), to_text),
    Kind.FLAG: Column(pa.bool_(), to_flag),
    Kind.ANY: Column(pa.string(), to_json),
}
