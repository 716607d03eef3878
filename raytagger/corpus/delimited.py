"""CSV and TSV: a header, then a row a record; a quoted field may hold separators and line breaks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, BinaryIO, cast

from raytagger.corpus.compression import BUFFER_BYTES
from raytagger.corpus.rows import (
    COLUMNS,
    BadRow,
    Kind,
    RawChunk,
    Request,
    Rows,
    tabulate,
)
from raytagger.errors import CorpusError

FIELD_CHARACTERS = 1 << 28  # an unclosed quote swallows this much at most
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

Record = list[str] | csv.Error


def read_csv(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Comma-separated values; `labels` and `parents` are joined by `;` or `|`, or are JSON lists.

    Records of the wrong width, with broken quoting or not in UTF-8 are bad rows; blank lines are skipped. A
    record's position does not count the header.

    Raises:
        CorpusError: the header is not UTF-8, or names a column twice.
    """
    return _read(file, request, ",")


def read_tsv(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Tab-separated values, else as `read_csv`."""
    return _read(file, request, "\t")


def _read(file: BinaryIO, request: Request, delimiter: str) -> Iterator[RawChunk]:
    csv.field_size_limit(max(csv.field_size_limit(), FIELD_CHARACTERS))  # documents are longer than its 128 KB
    # Bytes that are not UTF-8 become lone surrogates here and are found again row by row.
    buffered = io.BufferedReader(cast(Any, file), BUFFER_BYTES)
    text = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
    records = _iterate_records(csv.reader(text, delimiter=delimiter, strict=True))
    header = _check_header(next(records, None), request)
    if header is None:
        return
    columns = {
        name: COLUMNS[Kind.TEXT if kind is Kind.ANY else kind]
        for name, kind in request.kinds.items()
        if name in header
    }
    start = 0
    while chunk := list(islice(records, request.rows)):
        yield tabulate(_parse(start, chunk, header, request.kinds), columns, tuple(header))
        start += len(chunk)


def _iterate_records(reader: Iterator[list[str]]) -> Iterator[Record]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the reader goes on with the next line
            yield error


def _check_header(header: Record | None, request: Request) -> list[str] | None:
    if isinstance(header, csv.Error) or (header and not _is_text(header)):
        raise CorpusError(f"the header of {request.uri} cannot be read", got=header, expected="CSV in UTF-8")
    if header is None:
        return None
    names = [name.strip() for name in header]
    twice = sorted({name for name in names if names.count(name) > 1} & set(request.kinds))
    if twice:
        raise CorpusError(f"{request.uri} names columns twice", got=twice, expected="unique names")
    return names


def _parse(start: int, records: list[Record], header: list[str], kinds: Mapping[str, Kind]) -> Rows:
    rows = Rows(start, [], [], [])
    wanted = [(place, name, kinds[name]) for place, name in enumerate(header) if name in kinds]
    for position, record in enumerate(records, start):
        if isinstance(record, csv.Error):
            rows.bad.append(BadRow(position, "not_csv", str(record)))
        elif len(record) != len(header):
            if record:
                error = f"{len(record)} fields where the header has {len(header)}"
                rows.bad.append(BadRow(position, "wrong_width", error))
        elif not _is_text(record):
            name = next(name for name, cell in zip(header, record, strict=True) if not _is_text([cell]))
            rows.bad.append(BadRow(position, "not_utf8", f"{name} is not UTF-8", _find_id(header, record)))
        else:
            rows.values.append({name: _read_cell(record[place], kind) for place, name, kind in wanted})
            rows.positions.append(position)
    return rows


def _read_cell(cell: str, kind: Kind) -> Any:
    """A value as JSON would have it; what is none is left as it is, and `tabulate` will refuse it."""
    if kind is Kind.FLAG:
        return FLAGS.get(cell.strip().lower(), cell or None)
    if kind is Kind.IDS:
        if cell.lstrip().startswith("["):
            try:
                return json.loads(cell)
            except ValueError:
                return cell
        return [part.strip() for part in cell.split(";" if ";" in cell else "|") if part.strip()]
    return cell


def _is_text(cells: list[str]) -> bool:
    joined = "".join(cells)
    if joined.isascii():
        return True
    try:
        joined.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _find_id(header: list[str], record: list[str]) -> str:
    found = (record[header.index(name)] for name in ("doc_id", "id", "uid") if name in header)
    return next((cell for cell in found if _is_text([cell])), "")
