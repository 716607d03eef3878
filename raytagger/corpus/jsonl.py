"""JSON lines: one object a line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, BinaryIO, cast

from raytagger.corpus.compression import BUFFER_BYTES
from raytagger.corpus.rows import (
    BYTE_ORDER_MARK,
    COLUMNS,
    BadRow,
    Column,
    Kind,
    RawChunk,
    Request,
    Rows,
    choose_columns,
    chunked,
    tabulate,
)

HEAD_LINES = 100  # the lines by which a file's columns are known, whatever the chunks' size

Convert = Callable[[int, dict[str, Any]], dict[str, Any]]


def read_jsonl(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """One JSON object a line. A line that is not one is a bad row; blank lines are skipped."""
    return read_objects(iterate_lines(file), request, keep)


def read_objects(lines: Iterator[bytes], request: Request, convert: Convert) -> Iterator[RawChunk]:
    """JSON objects, each converted, given its position, before it becomes a row."""
    head = list(islice(lines, HEAD_LINES))
    values = _parse(0, head, convert).values
    columns = choose_columns(request.kinds, values)
    names = tuple(dict.fromkeys(name for value in values for name in value))
    for start, chunk in chunked(chain(head, lines), request.rows):
        rows = _parse(start, chunk, convert)
        yield tabulate(rows, {**columns, **_late_columns(rows, columns, request)}, names)


def iterate_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, without a byte order mark."""
    lines = iter(io.BufferedReader(cast(Any, file), BUFFER_BYTES))
    first = next(lines, b"").removeprefix(BYTE_ORDER_MARK)
    return chain([first], lines) if first else lines


def _parse(start: int, lines: list[bytes], convert: Convert) -> Rows:
    rows = Rows(start, [], [], [])
    for position, line in enumerate(lines, start):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            rows.bad.append(BadRow(position, "not_utf8", str(error)))
            continue
        except (ValueError, RecursionError) as error:
            rows.bad.append(BadRow(position, "not_json", str(error)))
            continue
        if not isinstance(value, dict):
            rows.bad.append(BadRow(position, "not_json", "the line is not a JSON object"))
            continue
        rows.values.append(convert(position, value))
        rows.positions.append(position)
    return rows


def _late_columns(rows: Rows, columns: dict[str, Column], request: Request) -> dict[str, Column]:
    """Columns that the head of the file lacks: labels may begin further down; ids must not change there."""
    present = {name for value in rows.values for name in value if name not in columns}
    return {
        name: COLUMNS[kind]
        for name, kind in request.kinds.items()
        if name in present and (kind not in (Kind.ID, Kind.ANY) or not columns)
    }


def keep(position: int, value: dict[str, Any]) -> dict[str, Any]:
    """The conversion that changes nothing."""
    return value
