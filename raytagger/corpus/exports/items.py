"""JSON objects of a file, whether they stand in one array or one a line; none is held but the one that is read."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

import pyarrow as pa

from raytagger.corpus.cells import LIST_BEGINS, parse_list
from raytagger.corpus.compression import BUFFER_BYTES
from raytagger.corpus.jsonl import iterate_lines
from raytagger.corpus.rows import BYTE_ORDER_MARK, STRINGS, BadRow, Kind, RawChunk, Request, without_rows
from raytagger.errors import CorpusError

MARKS, QUOTED_MARKS = re.compile(rb'["{}\[\],]'), re.compile(rb'["\\]')
LISTS = (Kind.IDS, Kind.LABELS)
HEAD_BYTES, BLOCK_BYTES = 64, 1 << 20
ESCAPE, QUOTE, COMMA, OPENING, CLOSING = b"\\", b'"', b",", (b"[", b"{"), (b"]", b"}")


def iterate_items(file: BinaryIO, request: Request) -> Iterator[bytes]:
    """The items of a JSON array, each as it is written there, or the lines of a file that is none.

    Raises:
        CorpusError: the array is not closed, or something stands after it.
    """
    buffered = io.BufferedReader(cast(Any, file), BUFFER_BYTES)
    head = buffered.peek(HEAD_BYTES).removeprefix(BYTE_ORDER_MARK).lstrip()
    if not head.startswith(b"["):
        return iterate_lines(buffered, request.uri)
    return _split_array(iter(lambda: buffered.read(BLOCK_BYTES), b""), request)


def label_names(value: Any) -> Any:
    """Names of labels from a name, a list of names, or a list of spans; anything else as it is, to be refused.

    A span is `[start, end, name]`, or an object with `label` or `labels`. A list may be written as text. JSON has a
    null of its own, so that the text "None" is a name.
    """
    if isinstance(value, str) and value.lstrip().startswith(LIST_BEGINS):
        return parse_list(value.strip())
    if isinstance(value, str | int) and not isinstance(value, bool):
        return [value] if value != "" else []
    if not isinstance(value, list):
        return value
    names: list[Any] = []
    for part in value:
        found = _name_of(part)
        names += found if isinstance(found, list) else [found]
    return list(dict.fromkeys(names)) if all(isinstance(name, str | int) for name in names) else value


def with_labels(chunk: RawChunk, cells: Sequence[list[str] | str | None], ids: list[str]) -> RawChunk:
    """The chunk with a column `labels`; a cell that is still text is a broken list, and its row a bad one."""
    lists = [None if isinstance(cell, str) else cell for cell in cells]
    table = chunk.table.append_column("labels", pa.array(lists, STRINGS))
    bad = {
        row: BadRow(chunk.positions[row], "wrong_type", f"labels: {cell!r:.100} is not a list of strings", ids[row])
        for row, cell in enumerate(cells)
        if isinstance(cell, str)
    }
    return without_rows(replace(chunk, table=table), bad)


def name_lists(row: dict[str, Any], request: Request) -> dict[str, Any]:
    """The row with names of labels in every column that is asked for as a list of ids."""
    wanted = {name for name, kind in request.kinds.items() if kind in LISTS}
    return {name: label_names(value) if name in wanted else value for name, value in row.items()}


def _name_of(part: Any) -> Any:
    if isinstance(part, list) and len(part) == 3:
        return part[2]
    if isinstance(part, dict):
        return part.get("label", part.get("labels"))
    return part


@dataclass
class _Scanner:
    """Finds brackets and commas outside of strings, block by block."""

    quoted: bool = False
    skip: int = 0  # bytes of the next block that an escape at the end of this one covers

    def marks(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        place = self.skip
        while found := (QUOTED_MARKS if self.quoted else MARKS).search(block, place):
            mark, place = found[0], found.end()
            if mark == ESCAPE:
                place += 1
            elif mark == QUOTE:
                self.quoted = not self.quoted
            else:
                yield found.start(), mark
        self.skip = max(0, place - len(block))


def _split_array(blocks: Iterator[bytes], request: Request) -> Iterator[bytes]:
    """Cuts at the commas of the outermost array, whatever stands between them."""
    scanner, depth, item = _Scanner(), 0, bytearray()
    for block in blocks:
        begin = 0
        for place, mark in scanner.marks(block):
            depth += (mark in OPENING) - (mark in CLOSING)
            if depth == 1 and mark in OPENING:  # the array itself
                item.clear()
                begin = place + 1
            elif depth == 0 or (depth == 1 and mark == COMMA):
                yield bytes(item + block[begin:place])
                item.clear()
                begin = place + 1
            if depth <= 0:
                _check_end(block[begin:], blocks, request)
                return
        item += block[begin:]
    raise CorpusError(f"{request.uri} is cut off", expected="a JSON array that is closed")


def _check_end(rest: bytes, blocks: Iterator[bytes], request: Request) -> None:
    rest = rest.strip() or next((block.strip() for block in blocks if block.strip()), b"")
    if rest:
        got = rest[:80].decode("utf-8", "replace")
        raise CorpusError(f"{request.uri}: something stands after the array", got=got)
