"""Records of delimited text, each with the line it begins in, so that no line is lost.

Where a quoted field is broken or never ends, or a record of several lines has the wrong width, its first line alone
is the bad one: the lines that it swallowed are given back and read again. Where a quoted field encloses rows
(`swallowed`), all its lines are bad ones.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from raytagger.corpus.swallowed import SwallowedRows

RECORD_CHARACTERS = 1 << 26  # what an unclosed quote can swallow before it is given up
READ_AGAIN = 1 << 26  # characters that may be read again beyond those of good records: reading stays linear


class Record(NamedTuple):
    """A record's cells, or why there are none, its first line from 1, and how many lines it takes."""

    line: int
    cells: list[str]
    reason: str = ""
    error: str = ""
    lines: int = 1


FindPlace = Callable[[list[str]], int | None]


class _Lines:
    """Lines that can be given back, and the ones taken since the last record."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._returned: deque[str] = deque()
        self.taken: list[str] = []
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._size > RECORD_CHARACTERS:
            raise csv.Error(f"a quoted field does not end within {RECORD_CHARACTERS:,} characters")
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        self._size += len(line)
        return line

    def give_back(self, lines: list[str]) -> None:
        self._returned.extendleft(reversed(lines))

    def begin(self) -> None:
        self.taken, self._size = [], 0


def iterate_plain(lines: Iterator[str], delimiter: str, first: int) -> Iterator[Record]:
    """A record a line; a quote is a character like any other."""
    width = 0
    for line, text in enumerate(lines, first):
        record = text.removesuffix("\n").removesuffix("\r")
        if not record.strip():
            continue
        checked = _checked(Record(line, record.split(delimiter)), width)
        width = width or len(checked.cells)
        yield checked


def iterate_quoted(
    lines: Iterator[str], delimiter: str, first: int, find_id: FindPlace = lambda header: None
) -> Iterator[Record]:
    """Records with fields in double quotes, which may hold delimiters and line breaks. Blank lines are skipped.

    Args:
        lines: with their ends.
        delimiter: between fields.
        first: the number of the first line.
        find_id: the place of the id, given the header's cells.
    """
    source = _Lines(lines)
    # Quotes are read strictly: a broken one is an error instead of a guess.
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    line, width, patience, after_break = first, 0, READ_AGAIN, False
    swallowed = SwallowedRows(delimiter, 0, None)
    while True:
        source.begin()
        record = _next_record(reader, line)
        taken, rest = source.taken, source.taken[1:]
        if record is None:
            return
        if not "".join(taken).strip():
            line += len(taken)
            continue
        record = _checked(record, width)
        if after_break and not record.reason and sum(text.count('"') for text in taken) % 2:
            record = Record(line, [], "not_csv", "the line goes on from a broken record")
        if not record.reason and swallowed.are_in(record.cells, taken):
            error = f"lines {line:,} to {line + len(rest):,} stand in one quoted field, yet look like rows"
            yield from _reject_all(line, taken, error)
            line += len(taken)
            continue
        yield record if record.reason else record._replace(lines=len(taken))
        size = sum(map(len, rest))
        if not record.reason:
            if not width:
                width = len(record.cells)
                swallowed = SwallowedRows(delimiter, width, find_id(record.cells))
            else:
                swallowed.learn(record.cells)
            line, patience, after_break = line + len(taken), patience + size, False
            continue
        after_break = after_break or any('"' in text for text in taken)
        if size <= patience:
            source.give_back(rest)
            line, patience = line + 1, patience - size
        else:
            yield from _reject_all(line + 1, rest, f"the line belongs to the broken record of line {line:,}")
            line += len(taken)


def _next_record(reader: Iterator[list[str]], line: int) -> Record | None:
    """A record or why it is none; None at the end."""
    try:
        return Record(line, next(reader))
    except StopIteration:
        return None
    except csv.Error as error:
        unclosed = "unexpected end" in str(error)
        return Record(line, [], "not_csv", "a quoted field is never closed" if unclosed else str(error))


def _reject_all(line: int, lines: list[str], error: str) -> Iterator[Record]:
    return (Record(at, [], "not_csv", error) for at, text in enumerate(lines, line) if text.strip())


def _checked(record: Record, width: int) -> Record:
    """A record of another width than the header's, or with NUL characters, is a bad one."""
    if record.reason:
        return record
    if "\0" in "".join(record.cells):
        return Record(record.line, [], "not_csv", "the line holds NUL characters")
    if width and len(record.cells) != width:
        error = f"{len(record.cells)} fields where the header has {width}"
        return Record(record.line, [], "wrong_width", error)
    return record
