"""CSV and TSV: a header, then a row a record; in quotes a field may hold separators and line breaks."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, BinaryIO, NamedTuple, cast

from raytagger.corpus.cells import split_cell
from raytagger.corpus.compression import BUFFER_BYTES, refuse_utf16
from raytagger.corpus.records import Record, iterate_plain, iterate_quoted
from raytagger.corpus.rows import COLUMNS, MARKS, BadRow, Kind, RawChunk, Request, Rows, tabulate
from raytagger.errors import CorpusError, SettingsError

FIELD_CHARACTERS = 1 << 28  # documents are longer than csv's 128 KB
DELIMITERS = (",", ";", "\t", "|")
EXCEL = re.compile(r'\s*"?sep=([^\w\s"]|\t)"?\s*')  # Excel's first line, which names the separator
QUOTES = ("auto", "always", "never")
HEAD_RECORDS = 100  # by which columns of nothing but 0 and 1 are known


class _Header(NamedTuple):
    names: list[str]
    wanted: dict[int, tuple[str, Kind]]  # by place


def read_csv(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Comma-separated values; `labels` and `parents` are joined by `;` or `|`, or are lists in brackets.

    Every line that is not blank is part of a row or a bad row of its own: of the wrong width, with broken quoting,
    with NUL characters or not in UTF-8. A first line `sep=;` names the separator; one that the header lacks gives
    way to `;`, a tab or `|`. Lines end in LF, CR LF or CR.

    Raises:
        CorpusError: the header cannot be read or names a column twice, or the file is UTF-16.
        SettingsError: `source.quotes` is none of always, never, auto.
    """
    return _read(file, request, ",", request.quotes != "never")


def read_tsv(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Tab-separated values, else as `read_csv`; a quote is a character unless `source.quotes` says `always`."""
    return _read(file, request, "\t", request.quotes == "always")


def _read(file: BinaryIO, request: Request, delimiter: str, quoted: bool) -> Iterator[RawChunk]:
    if request.quotes not in QUOTES:
        raise SettingsError("source.quotes is unknown", got=request.quotes, expected=", ".join(QUOTES))
    csv.field_size_limit(max(csv.field_size_limit(), FIELD_CHARACTERS))
    lines = _decode(file, request)
    first, head = 1, next(lines, "")
    if named := EXCEL.fullmatch(head):
        first, delimiter, head = 2, named[1], next(lines, "")
    elif delimiter not in head:
        delimiter = next((other for other in DELIMITERS if other in head), delimiter)
    lines = chain([head], lines) if head else lines
    if quoted:
        records = iterate_quoted(lines, delimiter, first, lambda names: _find_id_place(names, request))
    else:
        records = iterate_plain(lines, delimiter, first)
    header = _read_header(next(records, None), request)
    if header is None:
        return
    yield from _chunks(records, header, request)


def _decode(file: BinaryIO, request: Request) -> Iterator[str]:
    """Lines with their ends; bytes that are not UTF-8 become lone surrogates and are found again row by row."""
    buffered = io.BufferedReader(cast(Any, file), BUFFER_BYTES)
    head = buffered.peek()
    refuse_utf16(head, request.uri)
    end = re.search(rb"\r\n?|\n", head)
    newline = "\r" if end and end[0] == b"\r" else "\n"
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _read_header(record: Record | None, request: Request) -> _Header | None:
    if record is None:
        return None
    if record.reason or not _is_text(record.cells):
        got = record.error or record.cells
        raise CorpusError(
            f"the header of {request.uri} cannot be read",
            got=got,
            expected="the columns' names in UTF-8",
            remedy="Where a quote is an ordinary character, set source.quotes = never.",
        )
    names = [name.strip() for name in record.cells]
    kinds = request.choose(names)
    twice = sorted({name for name in names if names.count(name) > 1} & set(kinds))
    if twice:
        raise CorpusError(f"{request.uri} names columns twice", got=twice, expected="unique names")
    return _Header(names, {names.index(name): (name, kind) for name, kind in kinds.items()})


def _chunks(records: Iterator[Record], header: _Header, request: Request) -> Iterator[RawChunk]:
    columns = {name: COLUMNS[Kind.TEXT if kind is Kind.ANY else kind] for name, kind in header.wanted.values()}
    head = list(islice(records, HEAD_RECORDS))
    marks = _find_marks(header.names, head)
    records, start = chain(head, records), 0
    while chunk := list(islice(records, request.rows)):
        found = tabulate(_parse(start, chunk, header), columns, tuple(header.names), marks)
        over_lines = tuple(_find_id(header, record.cells) for record in chunk if record.lines > 1)
        yield replace(found, over_lines=over_lines)
        start += len(chunk)


def _parse(start: int, records: list[Record], header: _Header) -> Rows:
    rows = Rows(start, [], [], [])
    for record in records:
        if record.reason:
            rows.bad.append(BadRow(record.line, record.reason, record.error))
        elif not _is_text(record.cells):
            name = next(n for n, cell in zip(header.names, record.cells, strict=True) if not _is_text([cell]))
            rows.bad.append(BadRow(record.line, "not_utf8", f"{name} is not UTF-8", _find_id(header, record.cells)))
        else:
            wanted = header.wanted.items()
            rows.values.append({name: _read_cell(record.cells[at], kind) for at, (name, kind) in wanted})
            rows.positions.append(record.line)
    return rows


def _read_cell(cell: str, kind: Kind) -> Any:
    """A value as JSON would have it; what is none is left as it is, and `tabulate` will refuse it."""
    return split_cell(cell) if kind in (Kind.IDS, Kind.LABELS) else cell


def _find_marks(names: list[str], records: list[Record]) -> tuple[str, ...]:
    """The columns in which every cell is 0 or 1."""
    rows = [record.cells for record in records if not record.reason]
    found = (
        name for at, name in enumerate(names) if all(MARKS.get(row[at].strip().lower()) in (0, 1) for row in rows)
    )
    return tuple(found) if rows else ()


def _is_text(cells: list[str]) -> bool:
    joined = "".join(cells)
    if joined.isascii():
        return True
    try:
        joined.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _find_id_place(names: list[str], request: Request) -> int | None:
    """Which field is the id, by the header; None where none is asked for."""
    names = [name.strip() for name in names]
    return next((names.index(name) for name, kind in request.choose(names).items() if kind is Kind.ID), None)


def _find_id(header: _Header, cells: list[str]) -> str:
    found = (cells[at] for at, (_, kind) in header.wanted.items() if kind is Kind.ID)
    return next((cell for cell in found if _is_text([cell])), "")
