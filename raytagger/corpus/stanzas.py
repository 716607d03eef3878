"""Stanzas of `Field: value` lines: apt's indexes, its `.sources` files, Debtags' vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path


def split_stanzas(lines: Iterable[str], wanted: frozenset[str]) -> Iterator[dict[str, str]]:
    r"""The stanzas of a file, one dictionary each, with the wanted fields only.

    Args:
        lines: the lines of the file, with or without their line ends.
        wanted: names of the fields to keep, in lower case.

    Yields:
        lower-case field name → value. A value of several lines keeps them, joined by `\n`, each with its
        leading space. Of a field that occurs twice the last one counts. Comments, lines without a colon and
        stanzas without a wanted field are passed over. Costs about 1 s for 50 MB.
    """
    fields: dict[str, str] = {}
    current = ""
    for line in lines:
        first = line[:1]
        if first in (" ", "\t") and not line.isspace():
            if current:
                fields[current] += "\n" + line.rstrip("\n")
        elif not line or line.isspace():
            current = ""
            if fields:
                yield fields
                fields = {}
        elif first != "#":
            name, colon, value = line.partition(":")
            current = name.lower() if colon else ""
            if current in wanted:
                fields[current] = value.strip()
            else:
                current = ""
    if fields:
        yield fields


def read_stanzas(path: Path, wanted: frozenset[str]) -> Iterator[dict[str, str]]:
    """`split_stanzas` over a file; bytes that are not UTF-8 become U+FFFD."""
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from split_stanzas(file, wanted)
