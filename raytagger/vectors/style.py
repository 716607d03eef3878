r"""How a vocabulary reads texts and weighs terms: what a word is, and how counts become weights.

Four ways to see words, the numbers of which lie in a vocabulary's folder:

    SCRIPTS  words of any script, of two or more characters of the lower-cased text, as `scripts` has it: ours
    WORDS    runs of two or more word characters of the lower-cased text, as `(?u)\b\w\w+\b` finds them:
             scikit-learn's way, and that of bundles from before SCRIPTS, which tag as they did
    PLAIN    the same once accents are off, as scikit-learn's `strip_accents="unicode"` takes them off
    RUNS     whatever stands between spaces, as it stands there: PECOS's own way; a null byte parts words, too
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from raytagger.vectors.scripts import LETTER, kinds, visible, word_characters

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]

WAYS = 4
WORDS, PLAIN, RUNS, SCRIPTS = range(WAYS)
LOGARITHM, COUNT, ONCE = 0, 1, 2  # of a term that is there n times: 1 + ln n, n, or 1


class Style(NamedTuple):
    """Numbers, so that kernels take it as it is.

    Attributes:
        words: WORDS, PLAIN, RUNS or SCRIPTS.
        counts: LOGARITHM, COUNT or ONCE.
        norm: 2 for rows of unit length, 1 for rows whose absolute values sum to one.
        most_words: of a text that are read; 0 for all of them.
    """

    words: int = WORDS
    counts: int = LOGARITHM
    norm: int = 2
    most_words: int = 0


STANDARD = Style()


class Alphabet(NamedTuple):
    """What words are made of.

    Attributes:
        fold_256: every byte as it is compared; 0 for ASCII that is in no word.
        kind_C: uint8 (code points,), kinds of characters beyond ASCII, see `scripts`; (0,) where all are in words.
        shortest: characters of the shortest word.
    """

    fold_256: Bytes
    kind_C: Bytes
    shortest: int


@cache
def alphabet(words: int) -> Alphabet:
    """Of a way to see words.

    Raises:
        ValueError: the number of no way.
    """
    if words not in range(WAYS):
        raise ValueError(f"way {words} to see words: of a newer raytagger")
    fold_256 = np.arange(256, dtype=np.uint8)
    if words == RUNS:
        fold_256[ord(" ")] = 0
        return Alphabet(fold_256, np.zeros(0, np.uint8), 1)
    for code in range(128):
        character = chr(code)
        fold_256[code] = ord(character.lower()) if character.isalnum() or character == "_" else 0
    return Alphabet(fold_256, kinds() if words == SCRIPTS else word_characters() * np.uint8(LETTER), 2)


def join_texts(texts: Sequence[str], words: int) -> tuple[Bytes, Longs]:
    """Texts as one buffer and its start_B1; only the non-ASCII are folded here, the others by the kernels.

    A lone surrogate becomes a question mark: like it, no part of a word of letters.
    """
    parts = [(text if text.isascii() else _fold(text, words)).encode(errors="replace") for text in texts]
    start_B1 = np.zeros(len(parts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=start_B1[1:])
    return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), np.uint8), start_B1


def _fold(text: str, words: int) -> str:
    if words == RUNS:
        return text
    lower = text.lower()
    if words == WORDS:
        return lower
    if words == SCRIPTS:
        return visible(lower)
    parts = unicodedata.normalize("NFKD", lower)
    return "".join(character for character in parts if not unicodedata.combining(character))
