"""Where words stand in UTF-8 texts, from raw bytes; what a word is, an `Alphabet` says."""

from __future__ import annotations

import numpy as np
from numba import njit

from raytagger.vectors.scripts import LETTER, MARK, UNSPACED
from raytagger.vectors.style import Alphabet, Bytes

_SEED, _PRIME = np.uint64(0xCBF2_9CE4_8422_2325), np.uint64(0x0000_0100_0000_01B3)  # FNV-1a
_ZERO, HALF = np.uint64(0), np.uint64(32)


@njit(cache=True, nogil=True)
def hash_word(text: Bytes, begin: int, end: int) -> np.uint64:
    """The hash of a folded word, whose low bits choose the slot and whose high half is kept in it."""
    mixed = _SEED
    for at in range(begin, end):
        mixed = (mixed ^ np.uint64(text[at])) * _PRIME
    return mixed ^ (mixed >> HALF)


@njit(cache=True, nogil=True)
def next_word(text: Bytes, at: int, end: int, alphabet: Alphabet) -> tuple[int, int, int, np.uint64]:
    """Begin and end of the first word at or after `at`, where the next may begin, and its hash.

    Where there is none, it begins at `end`.
    """
    every_byte = len(alphabet.kind_C) == 0
    while at < end:
        begin, characters, mixed, kind = at, 0, _SEED, LETTER
        while at < end:
            if text[at] < 128 or every_byte:
                folded = alphabet.fold_256[text[at]]
                if folded == 0:
                    break
                mixed = (mixed ^ np.uint64(folded)) * _PRIME
                at += 1
            else:
                code, after = _decode(text, at)
                kind = np.int64(alphabet.kind_C[code])
                if kind != LETTER and (kind != MARK or at == begin):
                    break
                while at < after:
                    mixed = (mixed ^ np.uint64(text[at])) * _PRIME
                    at += 1
            characters += 1
        if characters >= alphabet.shortest:
            return begin, at, at, mixed ^ (mixed >> HALF)
        if kind == UNSPACED:
            return _next_two(text, at, end, alphabet.kind_C)
        at += 1
        while at < end and text[at] & 0xC0 == 0x80:  # the rest of a non-ASCII separator
            at += 1
    return end, end, end, _ZERO


@njit(cache=True, nogil=True)
def _next_two(text: Bytes, at: int, end: int, kind_C: Bytes) -> tuple[int, int, int, np.uint64]:
    """As `next_word` at a character of a script without spaces: with the next one, if it is of one, too."""
    second = _after_unit(text, at, end, kind_C)
    stop = _after_unit(text, second, end, kind_C)
    after = second if stop > second and _after_unit(text, stop, end, kind_C) > stop else stop
    return at, stop, after, hash_word(text, at, stop)


@njit(cache=True, nogil=True)
def _after_unit(text: Bytes, at: int, end: int, kind_C: Bytes) -> int:
    """Where a character of a script without spaces and the marks behind it end; `at` where there is none."""
    wanted = UNSPACED
    while at < end and text[at] >= 128:
        code, after = _decode(text, at)
        if kind_C[code] != wanted:
            break
        at, wanted = after, MARK
    return at


@njit(cache=True, nogil=True)
def _decode(text: Bytes, at: int) -> tuple[int, int]:
    """The code point that begins at a non-ASCII byte, and where the next begins."""
    first = np.int64(text[at])
    if first < 0xE0:
        return (first & 0x1F) << 6 | (text[at + 1] & 0x3F), at + 2
    if first < 0xF0:
        return (first & 0x0F) << 12 | (text[at + 1] & 0x3F) << 6 | (text[at + 2] & 0x3F), at + 3
    high = (first & 0x07) << 18 | (text[at + 1] & 0x3F) << 12
    return high | (text[at + 2] & 0x3F) << 6 | (text[at + 3] & 0x3F), at + 4
