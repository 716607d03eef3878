r"""Which characters make words, in every script; `style` and the kernels see it as one number a code point.

Where words are parted by spaces, a word is a run of `\w` (letters, digits, `_`) and of combining marks (Unicode's
categories Mn and Mc: vowel signs, accents, points) that begins with no mark. Where they are not, a character with
its marks is a unit, and two neighbouring units make a word; a unit that stands alone is one. That needs no
dictionary and is the same for all.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from raytagger.schema import BoolArray

CODE_POINTS = 0x110000
APART, LETTER, MARK, UNSPACED = range(4)
PLANES_WITH_MARKS = (0, 1, 14)

# Unicode's blocks of the scripts whose text may be broken between any two characters or by a dictionary alone: the
# line-breaking classes ID, CJ and SA; and Balinese and Javanese, which are written without spaces, too. Python's
# library knows no script of a character. Hangul has spaces, and Tibetan a mark of its own after each syllable.
BLOCKS_WITHOUT_SPACES = {
    "Thai": (0x0E00, 0x0E7F),
    "Lao": (0x0E80, 0x0EFF),
    "Myanmar": (0x1000, 0x109F),
    "Khmer": (0x1780, 0x17FF),
    "Tai Le": (0x1950, 0x197F),
    "New Tai Lue": (0x1980, 0x19DF),
    "Tai Tham": (0x1A20, 0x1AAF),
    "Balinese": (0x1B00, 0x1B7F),
    "CJK Symbols and Punctuation": (0x3000, 0x303F),  # its iteration marks and numerals are letters
    "Hiragana": (0x3040, 0x309F),
    "Katakana": (0x30A0, 0x30FF),
    "Bopomofo": (0x3100, 0x312F),
    "Kanbun": (0x3190, 0x319F),
    "Bopomofo Extended": (0x31A0, 0x31BF),
    "Katakana Phonetic Extensions": (0x31F0, 0x31FF),
    "CJK Unified Ideographs Extension A": (0x3400, 0x4DBF),
    "CJK Unified Ideographs": (0x4E00, 0x9FFF),
    "Yi": (0xA000, 0xA4CF),
    "Javanese": (0xA980, 0xA9DF),
    "Myanmar Extended-B": (0xA9E0, 0xA9FF),
    "Myanmar Extended-A": (0xAA60, 0xAA7F),
    "Tai Viet": (0xAA80, 0xAADF),
    "CJK Compatibility Ideographs": (0xF900, 0xFAFF),
    "Halfwidth Katakana": (0xFF66, 0xFF9F),
    "Ahom": (0x11700, 0x1174F),
    "Ideographic Symbols, Tangut, Khitan Small Script": (0x16FE0, 0x18D8F),
    "Kana Extended and Supplement, Nushu": (0x1AFF0, 0x1B2FF),
    "Supplementary and Tertiary Ideographic Plane": (0x20000, 0x3FFFF),
}

# They say how the characters beside them are shown, and belong to no word: soft hyphen, the joiners of Indic and
# Arabic script, marks of direction, word joiner, selectors of variants. U+200B, a space without width, is not one.
INVISIBLE = "\u00ad\u034f\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff"


@cache
def word_characters() -> BoolArray:
    r"""Bool (code points,): what Python's `re` takes for `\w`."""
    every = np.arange(CODE_POINTS, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    is_word_C = np.zeros(CODE_POINTS, bool)
    for run in re.finditer(r"\w+", every):
        is_word_C[run.start() : run.end()] = True
    return is_word_C


@cache
def kinds() -> npt.NDArray[np.uint8]:
    """uint8 (code points,): APART, LETTER, MARK or UNSPACED; all digits are LETTER."""
    kind_C = np.where(word_characters(), LETTER, APART).astype(np.uint8)
    for first, last in BLOCKS_WITHOUT_SPACES.values():
        inside = kind_C[first : last + 1]
        inside[inside == LETTER] = UNSPACED
    for plane in PLANES_WITH_MARKS:
        codes = range(plane << 16, (plane + 1) << 16)
        category = np.array([unicodedata.category(chr(code)) for code in codes])
        inside = kind_C[codes.start : codes.stop]
        inside[(category == "Mn") | (category == "Mc")] = MARK
        inside[category == "Nd"] = LETTER
    return kind_C


def characters_of(kind: int) -> str:
    """All characters of a kind, as they stand between the brackets of a regular expression."""
    edges = np.flatnonzero(np.diff(kinds() == kind, prepend=False, append=False)).reshape(-1, 2)
    return "".join(f"\\U{first:08x}-\\U{after - 1:08x}" for first, after in edges.tolist())


def visible(text: str) -> str:
    """A text without what is not seen, so that it neither parts a word nor makes another of it."""
    for character in INVISIBLE:
        if character in text:  # replacing what is not there takes ten times as long
            text = text.replace(character, "")
    return text
