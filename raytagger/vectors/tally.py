"""Counting in how many texts each word and each pair of words stands, over batches, and merging such counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

from raytagger.errors import SettingsError
from raytagger.schema import IntArray
from raytagger.vectors.scan import HALF, hash_word, next_word
from raytagger.vectors.style import SCRIPTS, Alphabet, Bytes, Longs, alphabet, join_texts
from raytagger.vectors.words import (
    LOW,
    NO_PAIR,
    Slots,
    fill_words,
    find_pair,
    find_word,
    join_pair,
    read_only,
    table_size,
)

LOAD = 0.75  # how full a table may be
Item = TypeVar("Item", bound=np.generic)
BATCH = 1024  # texts, or terms of another tally, that are added at once


class CountedTerms(NamedTuple):
    """What was counted, as arrays without room: W words and P pairs.

    Attributes:
        texts: how many were counted.
        ngrams: 1 words, 2 pairs beside them.
        word_byte: the words' UTF-8, one after the other; word w is `word_start_W1[w] : word_start_W1[w + 1]`.
        word_start_W1: int64 (W + 1,).
        word_frequency_W: int64 (W,), in how many texts each word stands.
        pair_key_P: uint64 (P,), number of the left word x 2^32 + number of the right one.
        pair_frequency_P: int32 (P,).
        words: how words were seen, see `Style`.
    """

    texts: int
    ngrams: int
    word_byte: Bytes
    word_start_W1: Longs
    word_frequency_W: Longs
    pair_key_P: Slots
    pair_frequency_P: IntArray
    words: int = SCRIPTS


class Tally(NamedTuple):
    """Words and pairs with the number of texts that each stands in; every array has room for more.

    `word_last_W` and `pair_last_S` number the text that counted last; `used` is bytes, words, pairs.
    """

    word_byte: Bytes
    word_start_W1: Longs
    word_frequency_W: Longs
    word_last_W: Longs
    word_slot_S: Slots
    pair_key_S: Slots
    pair_frequency_S: IntArray
    pair_last_S: IntArray
    used: Longs


class TermCounts:
    """Document frequencies of terms, added up over batches of texts; the order of the batches does not matter.

    Memory: 21 to 43 bytes a distinct pair, half as much again for the moment in which a table grows.

    Args:
        ngrams: 1 counts words, 2 also pairs of consecutive words.
        words: how they are seen, see `Style`.

    Raises:
        SettingsError: `ngrams` is neither.
    """

    def __init__(self, ngrams: int = 1, words: int = SCRIPTS) -> None:
        if ngrams not in (1, 2):
            raise SettingsError("ngrams", got=ngrams, expected="1 or 2")
        self.texts, self.ngrams, self.words = 0, ngrams, words
        self._marks = 1  # differs from `texts` where counts were merged
        self._tally = _empty_tally()

    def add(self, texts: Iterable[str]) -> None:
        """Counts in how many texts each term stands."""
        rest = iter(texts)
        while batch := list(islice(rest, BATCH)):
            text, start_B1 = join_texts(batch, self.words)
            row, letters = 0, alphabet(self.words)
            while True:
                row = tally_texts(self._tally, text, start_B1, letters, row, self._marks, self.ngrams == 2)
                if row == len(batch):
                    break
                size, words = most_of(start_B1[row + 1] - start_B1[row])
                self._make_room(size, words, words if self.ngrams == 2 else 0)
            self._marks += len(batch)
            self.texts += len(batch)

    def merge(self, other: TermCounts) -> None:
        """Adds what was counted elsewhere over other texts.

        Raises:
            SettingsError: the other did not count the same kinds of terms.
        """
        if other.ngrams != self.ngrams:
            raise SettingsError("ngrams of counts to merge", got=other.ngrams, expected=str(self.ngrams))
        if other.words != self.words:
            raise SettingsError("how counts to merge see words", got=other.words, expected=str(self.words))
        self._add_counted(other.counted())

    def counted(self) -> CountedTerms:
        """The counts as arrays, in no particular order."""
        tally, (size, words, _) = self._tally, self._tally.used.tolist()
        taken = np.flatnonzero(tally.pair_key_S != NO_PAIR)
        return CountedTerms(
            self.texts,
            self.ngrams,
            tally.word_byte[:size].copy(),
            tally.word_start_W1[: words + 1].copy(),
            tally.word_frequency_W[:words].copy(),
            tally.pair_key_S[taken],
            tally.pair_frequency_S[taken],
            self.words,
        )

    @classmethod
    def from_counted(cls, counted: CountedTerms) -> TermCounts:
        """Goes on from what `counted` gave."""
        counts = cls(counted.ngrams, counted.words)
        counts._add_counted(counted)
        return counts

    def __reduce__(self) -> tuple[Callable[[CountedTerms], TermCounts], tuple[CountedTerms]]:
        return TermCounts.from_counted, (self.counted(),)

    def _add_counted(self, counted: CountedTerms) -> None:
        word_byte, start_W1, frequency_W, key_P, frequency_P = map(read_only, counted[2:7])
        here_W = np.empty(len(frequency_W), np.int64)
        for start in range(0, len(frequency_W), BATCH):
            part, part_W1 = slice(start, start + BATCH), start_W1[start : start + BATCH + 1]
            self._make_room(int(part_W1[-1] - part_W1[0]), len(part_W1) - 1, 0)
            here_W[part] = add_words(
                self._tally, word_byte, part_W1, frequency_W[part], alphabet(self.words).fold_256
            )
        for start in range(0, len(key_P), BATCH):
            part = slice(start, start + BATCH)
            self._make_room(0, 0, len(key_P[part]))
            add_pairs(self._tally, key_P[part], frequency_P[part], here_W)
        self.texts += counted.texts

    def _make_room(self, size: int, words: int, pairs: int) -> None:
        """Grows what is too small for so many bytes, words and pairs more."""
        tally = self._tally
        size, words, pairs = (np.array([size, words, pairs]) + tally.used).tolist()
        if size > len(tally.word_byte):
            tally = tally._replace(word_byte=_longer(tally.word_byte, max(size, 2 * len(tally.word_byte))))
        if words > len(tally.word_last_W):
            tally = _with_more_words(tally, words)
        if pairs > int(LOAD * len(tally.pair_key_S)):
            empty = _empty_pairs(pairs)
            move_pairs(tally, *empty)
            tally = tally._replace(pair_key_S=empty[0], pair_frequency_S=empty[1], pair_last_S=empty[2])
        self._tally = tally


def _empty_tally() -> Tally:
    nothing = np.zeros(0, np.int64)
    tally = Tally(
        np.zeros(1 << 14, np.uint8), np.zeros(1, np.int64), nothing, nothing, np.zeros(0, np.uint64),
        *_empty_pairs(0), np.zeros(3, np.int64),
    )  # fmt: skip
    return _with_more_words(tally, 1 << 11)


def _with_more_words(tally: Tally, words: int) -> Tally:
    slot_S = np.zeros(table_size(words, LOAD), np.uint64)
    room = int(LOAD * len(slot_S))
    fill_words(tally.word_byte, tally.word_start_W1, int(tally.used[1]), slot_S)
    return tally._replace(
        word_start_W1=_longer(tally.word_start_W1, room + 1),
        word_frequency_W=_longer(tally.word_frequency_W, room),
        word_last_W=_longer(tally.word_last_W, room),
        word_slot_S=slot_S,
    )


def _empty_pairs(pairs: int) -> tuple[Slots, IntArray, IntArray]:
    slots = table_size(pairs, LOAD)
    return np.full(slots, NO_PAIR), np.zeros(slots, np.int32), np.zeros(slots, np.int32)


def _longer(array: npt.NDArray[Item], size: int) -> npt.NDArray[Item]:
    longer = np.zeros(size, array.dtype)
    longer[: len(array)] = array
    return longer


@njit(cache=True, nogil=True)
def most_of(size: int) -> tuple[int, int]:
    """Bytes of words, and words, that a text of so many bytes has at most.

    A word takes two bytes with what parts it from the next; where it takes more, it may share half of them.
    """
    return 2 * size, size // 2 + 1


@njit(cache=True, nogil=True)
def has_room(tally: Tally, size: int, words: int, pairs: int) -> bool:
    """Whether so many bytes, words and pairs more fit."""
    return (
        tally.used[0] + size <= len(tally.word_byte)
        and tally.used[1] + words <= len(tally.word_last_W)
        and tally.used[2] + pairs <= int(LOAD * len(tally.pair_key_S))
    )


@njit(cache=True, nogil=True)
def _put_word(tally: Tally, text: Bytes, begin: int, end: int, mixed: np.uint64, fold_256: Bytes) -> int:
    """A word's number, a new one where it is new."""
    word, slot = find_word(
        text, begin, end, mixed, fold_256, tally.word_byte, tally.word_start_W1, tally.word_slot_S
    )
    if word >= 0:
        return word
    word, start = tally.used[1], tally.used[0]
    for step in range(end - begin):
        tally.word_byte[start + step] = fold_256[text[begin + step]]
    tally.used[0] = tally.word_start_W1[word + 1] = start + end - begin
    tally.used[1] = word + 1
    tally.word_slot_S[slot] = (mixed >> HALF) << HALF | np.uint64(word + 1)
    return word


@njit(cache=True, nogil=True)
def _put_pair(tally: Tally, left: int, right: int) -> np.uint64:
    """A pair's slot, a new one where it is new."""
    key = join_pair(left, right)
    slot = find_pair(key, tally.pair_key_S)
    if tally.pair_key_S[slot] == NO_PAIR:
        tally.pair_key_S[slot] = key
        tally.used[2] += 1
    return slot


@njit(cache=True, nogil=True)
def tally_texts(
    tally: Tally, text: Bytes, start_B1: Longs, alphabet: Alphabet, first: int, mark: int, pairs: bool
) -> int:
    """Counts texts from the `first` on, up to one for which there may be no room; its number, or B.

    Args:
        mark: the number of text 0 among all that were ever counted here; at least 1.
        pairs: whether pairs count beside words.
    """
    for row in range(first, len(start_B1) - 1):
        at, end = start_B1[row], start_B1[row + 1]
        size, words = most_of(end - at)
        if not has_room(tally, size, words, words if pairs else 0):
            return row
        previous = -1
        while True:
            begin, stop, at, mixed = next_word(text, at, end, alphabet)
            if begin == end:
                break
            word = _put_word(tally, text, begin, stop, mixed, alphabet.fold_256)
            if tally.word_last_W[word] != mark + row:
                tally.word_last_W[word] = mark + row
                tally.word_frequency_W[word] += 1
            if pairs and previous >= 0:
                slot = _put_pair(tally, previous, word)
                if tally.pair_last_S[slot] != mark + row:
                    tally.pair_last_S[slot] = mark + row
                    tally.pair_frequency_S[slot] += 1
            previous = word
    return len(start_B1) - 1


@njit(cache=True, nogil=True)
def add_words(tally: Tally, word_byte: Bytes, word_start_W1: Longs, frequency_W: Longs, fold_256: Bytes) -> Longs:
    """Adds words counted elsewhere, for which there is room; their numbers here."""
    here_W = np.empty(len(frequency_W), np.int64)
    for word in range(len(frequency_W)):
        begin, end = word_start_W1[word], word_start_W1[word + 1]
        here_W[word] = _put_word(tally, word_byte, begin, end, hash_word(word_byte, begin, end), fold_256)
        tally.word_frequency_W[here_W[word]] += frequency_W[word]
    return here_W


@njit(cache=True, nogil=True)
def add_pairs(tally: Tally, key_P: Slots, frequency_P: IntArray, here_W: Longs) -> None:
    """Adds pairs counted elsewhere, for which there is room."""
    for place in range(len(key_P)):
        left, right = np.int64(key_P[place] >> HALF), np.int64(key_P[place] & LOW)
        slot = _put_pair(tally, here_W[left], here_W[right])
        tally.pair_frequency_S[slot] += frequency_P[place]


@njit(cache=True, nogil=True)
def move_pairs(tally: Tally, key_S: Slots, frequency_S: IntArray, last_S: IntArray) -> None:
    """Copies all pairs into a larger, empty table."""
    for old in range(len(tally.pair_key_S)):
        key = tally.pair_key_S[old]
        if key != NO_PAIR:
            slot = find_pair(key, key_S)
            key_S[slot] = key
            frequency_S[slot] = tally.pair_frequency_S[old]
            last_S[slot] = tally.pair_last_S[old]
