"""Whether a quoted field of several lines is a text, or rows that two stray quotes enclose.

Two stray quotes enclose whole rows: with quotes as characters, the line of the first quote and the line of the last
have the header's number of fields at least, half of the lines between them exactly, and these lines have what looks
like an id of this file in its place. Lines of a text have other numbers of separators, or words in that place.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import lru_cache

LATEST = 200  # ids by which another is judged
ENOUGH = 20  # ids that tell which characters ids may hold
CODES = 0.8  # the least share of ids that are codes where another one must be
MIXED = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")
CODE = re.compile(rf"{MIXED.pattern}|[\d+/=_]")
BLANKS = re.compile(r"\s")
DIGIT, LETTER, BLANK = "0", "a", " "  # kinds of characters
SHORT = 8  # characters that an id may have however short the others are


class SwallowedRows:
    """Looks at the records of a file one after the other.

    Args:
        delimiter: between fields.
        width: fields of the header.
        id_place: the field that holds the id, None where there is none: then the widths decide alone.
    """

    def __init__(self, delimiter: str, width: int, id_place: int | None) -> None:
        self._delimiter, self._width, self._place = delimiter, width, id_place
        self._latest: deque[str] = deque(maxlen=LATEST)

    def learn(self, cells: list[str]) -> None:
        """Takes note of a good record's id."""
        if self._place is not None:
            self._latest.append(cells[self._place].strip())

    def are_in(self, cells: list[str], lines: list[str]) -> bool:
        """Whether a record's physical lines are rows of their own, each but for a quote."""
        if len(lines) < 2 or self._width < 2:
            return False
        end = lines[0][-1:]
        if self._place is not None and end in cells[self._place].strip():
            return True  # no id goes over several lines
        own = 0 if self._place is None else sum(cell.count(end) for cell in cells[: self._place])
        rows = [line.rstrip("\r\n").split(self._delimiter) for line in lines]
        if min(len(rows[0]), len(rows[-1])) < self._width:
            return False
        own_id = [] if self._place is None else [cells[self._place].strip()]
        shape = _Shape([*self._latest, *own_id])
        # The line with the record's own id proves nothing by it, a blank one nothing at all.
        ends = [rows[at] for at in (0, len(rows) - 1) if at != own]
        if not all(self._has_id(row, shape) for row in ends):
            return False
        inner = [row for at, row in enumerate(rows[1:-1], 1) if at != own and "".join(row).strip()]
        alike = sum(len(row) == self._width and self._has_id(row, shape) for row in inner)
        return 2 * (len(ends) + alike) >= len(ends) + len(inner)

    def _has_id(self, row: list[str], shape: _Shape) -> bool:
        """Whether a row has an id in its place, from the left or, where it has too many fields, from the right."""
        if self._place is None:
            return True
        return any(shape.fits(row[place].strip().strip('"')) for place in (self._place, self._place - self._width))


class _Shape:
    """What ids have in common: the kinds of characters that each of them and that any of them has, their length.

    A few ids do not tell what others may hold but for digits, letters and blanks. Ids that look random, as in
    base64, need not have a kind of characters in common: another of them is no word either.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        kinds = [_kinds(one) for one in ids]
        self._all = frozenset.intersection(*kinds) if kinds else frozenset()
        self._any = frozenset().union(*kinds)
        shortest, longest = min(map(len, ids), default=0), max(map(len, ids), default=0)
        fixed = shortest == longest >= SHORT and len(ids) > 2
        self._lengths = range(shortest, longest + 2) if fixed else range(1, max(SHORT, 2 * longest) + 1)
        self._few = len(ids) < ENOUGH
        if self._few:
            self._all &= {DIGIT, LETTER}
        codes = sum(map(_is_code, ids)) >= CODES * len(ids) > 0
        self._codes = codes and (self._few or DIGIT not in self._all or any(map(MIXED.search, ids)))

    def fits(self, cell: str) -> bool:
        """Whether a cell looks like another of these ids."""
        if len(cell) not in self._lengths:
            return False
        if self._codes:
            return _is_code(cell)
        kinds = _kinds(cell)
        odd = (kinds - self._any) & ({BLANK} if self._few else kinds)
        return self._all <= kinds and not odd


def _is_code(text: str) -> bool:
    """Whether a text has no blank and is no word: by a digit, a sign of base64, or capitals after small letters."""
    return bool(CODE.search(text)) and not BLANKS.search(text)


@lru_cache(maxsize=16 * LATEST)  # the same ids are looked at for record after record
def _kinds(text: str) -> frozenset[str]:
    """The kinds of characters of a text: digits, letters, blanks, and each other character by itself."""
    return frozenset(map(_kind, text))


def _kind(letter: str) -> str:
    if letter.isdigit():
        return DIGIT
    if letter.isalpha():
        return LETTER
    return BLANK if letter.isspace() else letter
