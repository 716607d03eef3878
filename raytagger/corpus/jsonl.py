"""JSON lines: one object a line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, BinaryIO, cast

from raytagger.corpus.compression import BUFFER_BYTES, refuse_utf16
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
    return read_objects(iterate_lines(file, request.uri), request, keep)


def read_objects(lines: Iterator[bytes], request: Request, convert: Convert) -> Iterator[RawChunk]:
    """JSON objects, each converted, given its place from 0, before it becomes a row."""
    head = list(islice(lines, HEAD_LINES))
    values = _parse(0, head, convert).values
    names = tuple(dict.fromkeys(name for value in values for name in value))
    columns = choose_columns(request.choose(names), values)
    marks = tuple(name for name in names if all(_is_mark(value.get(name)) for value in values))
    for start, chunk in chunked(chain(head, lines), request.rows):
        rows = _parse(start, chunk, convert)
        late = {name: None for value in rows.values for name in value if name not in names}
        more = _late_columns(request.choose(late), bool(columns))
        yield tabulate(rows, {**columns, **more}, (*names, *late), marks)


def iterate_lines(file: BinaryIO, uri: str) -> Iterator[bytes]:
    """The lines of a file, without a byte order mark.

    Raises:
        CorpusError: the file is UTF-16.
    """
    lines = iter(io.BufferedReader(cast(Any, file), BUFFER_BYTES))
    first = next(lines, b"").removeprefix(BYTE_ORDER_MARK)
    refuse_utf16(first, uri)
    return chain([first], lines) if first else lines


def _parse(start: int, lines: list[bytes], convert: Convert) -> Rows:
    rows = Rows(start, [], [], [])
    for number, line in enumerate(lines, start + 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            rows.bad.append(BadRow(number, "not_utf8", str(error)))
            continue
        except (ValueError, RecursionError) as error:
            rows.bad.append(BadRow(number, "not_json", str(error)))
            continue
        if not isinstance(value, dict):
            rows.bad.append(BadRow(number, "not_json", "the line is not a JSON object"))
            continue
        rows.values.append(convert(number - 1, value))
        rows.positions.append(number)
    return rows


def _late_columns(kinds: Mapping[str, Kind], has_head: bool) -> dict[str, Column]:
    """Columns that the head of the file lacks: labels may begin further down; ids must not change there."""
    wanted = {name: kind for name, kind in kinds.items() if not has_head or kind not in (Kind.ID, Kind.ANY)}
    return {name: COLUMNS[kind] for name, kind in wanted.items()}


def _is_mark(value: Any) -> bool:
    return isinstance(value, int | float) and value in (0, 1)


def keep(position: int, value: dict[str, Any]) -> dict[str, Any]:
    """The conversion that changes nothing."""
    return value
