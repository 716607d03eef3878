r"""Words of UTF-8 texts, looked up and counted: the compiled part of the vocabulary.

A batch of B texts is one buffer of bytes; text b is `text[start_B1[b] : start_B1[b + 1]]`. `scan` finds words. A
pair is two words with no other word begun between them. Words have numbers, and so a pair is one key:

    word_slot_S   [  hash 32 | word + 1 32 ]  at the word's hash, 0 where free ──▶ word_start_W1 ──▶ word_byte
    pair_key_S    [  left 32 | right 32    ]  at the key's hash, NO_PAIR where free

Both are open-addressing tables whose sizes are powers of two. A word found is compared byte by byte, and a pair's
key is exact, so that no collision of hashes is ever taken for a term.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from raytagger.schema import FloatArray, IntArray
from raytagger.vectors.scan import HALF, hash_word, next_word
from raytagger.vectors.style import COUNT, LOGARITHM, Alphabet, Bytes, Longs, Style

Slots = npt.NDArray[np.uint64]

NO_PAIR = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)
NOTHING = float(np.finfo(np.float32).eps)  # rows as short as this stay as they are, as PECOS leaves them
_ZERO, _ONE, LOW = np.uint64(0), np.uint64(1), np.uint64(0xFFFF_FFFF)


class Lexicon(NamedTuple):
    """W words and V terms over them, as arrays that are only read.

    A term is a word (`word_feature_W`, -1 for one that only stands in pairs) or a pair (`pair_feature_S`).
    """

    word_byte: Bytes
    word_start_W1: Longs
    word_feature_W: IntArray
    word_slot_S: Slots
    pair_key_S: Slots
    pair_feature_S: IntArray


class Scratch(NamedTuple):
    """What one text at a time needs.

    `count_V` counts its terms, two levels of bits say where they are, and all three are zero between texts;
    `late_8` holds pairs that are yet to be looked up.
    """

    count_V: IntArray
    bit_V64: Slots
    bit_V4096: Slots
    late_8: Slots


def table_size(entries: int, load: float) -> int:
    """Slots of a table that so many entries fill to a share of `load` at most."""
    slots = 4
    while load * slots < entries:
        slots *= 2
    return slots


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A view as mapped files are: kernels are compiled anew for arrays that can be written."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


@intrinsic
def _count_trailing_zeros(context: Any, value: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@intrinsic
def _prefetch(context: Any, array: Any, index: Any) -> tuple[Any, Callable[..., Any]]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        ask = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        line = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        builder.call(ask, [line, *(ir.Constant(number, flag) for flag in (0, 3, 1))])  # read, keep, data
        return context.get_dummy_value()

    return types.void(array, index), generate


@njit(cache=True, nogil=True)
def _ask_for(array: npt.NDArray[Any], index: np.uint64) -> None:
    """Has the cache line of `array[index]` brought, without waiting for it."""
    _prefetch(array, index)  # pyright: ignore[reportCallIssue] - numba's


@njit(cache=True, nogil=True)
def _trailing_zeros(bits: np.uint64) -> int:
    """How many low bits are zero; at least one must not be."""
    return np.int64(_count_trailing_zeros(bits))  # pyright: ignore[reportCallIssue, reportReturnType] - numba's


@njit(cache=True, nogil=True)
def _same(text: Bytes, begin: int, end: int, fold_256: Bytes, word_byte: Bytes, start: int, stop: int) -> bool:
    if end - begin != stop - start:
        return False
    for step in range(end - begin):  # noqa: SIM110 - what numba compiles
        if fold_256[text[begin + step]] != word_byte[start + step]:
            return False
    return True


@njit(cache=True, nogil=True)
def find_word(
    text: Bytes,
    begin: int,
    end: int,
    mixed: np.uint64,
    fold_256: Bytes,
    word_byte: Bytes,
    word_start_W1: Longs,
    slot_S: Slots,
) -> tuple[Any, np.uint64]:
    """A word's number, -1 if it has none; and its slot, or the free one that it would take."""
    mask = np.uint64(len(slot_S) - 1)
    slot = mixed & mask
    while slot_S[slot] != _ZERO:
        if (slot_S[slot] ^ mixed) >> HALF == _ZERO:
            word = np.int64(slot_S[slot] & LOW) - 1
            if _same(text, begin, end, fold_256, word_byte, word_start_W1[word], word_start_W1[word + 1]):
                return word, slot
        slot = (slot + _ONE) & mask
    return -1, slot


@njit(cache=True, nogil=True)
def _pair_home(key: np.uint64, mask: np.uint64) -> np.uint64:
    """Where the search for a pair begins."""
    mixed = key * _MIX
    return (mixed ^ (mixed >> HALF)) & mask


@njit(cache=True, nogil=True)
def find_pair(key: np.uint64, key_S: Slots) -> np.uint64:
    """The slot of a pair, or the free one that it would take."""
    mask = np.uint64(len(key_S) - 1)
    slot = _pair_home(key, mask)
    while key_S[slot] != key and key_S[slot] != NO_PAIR:
        slot = (slot + _ONE) & mask
    return slot


@njit(cache=True, nogil=True)
def join_pair(left: int, right: int) -> np.uint64:
    """The key of two words' numbers."""
    return np.uint64(left) << HALF | np.uint64(right)


@njit(cache=True, nogil=True)
def fill_words(word_byte: Bytes, word_start_W1: Longs, words: int, slot_S: Slots) -> None:
    """Puts distinct words into an empty table."""
    for word in range(words):
        begin, end = word_start_W1[word], word_start_W1[word + 1]
        mixed = hash_word(word_byte, begin, end)
        mask = np.uint64(len(slot_S) - 1)
        slot = mixed & mask
        while slot_S[slot] != _ZERO:
            slot = (slot + _ONE) & mask
        slot_S[slot] = (mixed >> HALF) << HALF | np.uint64(word + 1)


@njit(cache=True, nogil=True)
def place_pairs(key_P: Slots, key_S: Slots) -> Longs:
    """Puts distinct pairs into an empty table; the slot of each."""
    slot_P = np.empty(len(key_P), np.int64)
    for place in range(len(key_P)):
        slot = find_pair(key_P[place], key_S)
        key_S[slot] = key_P[place]
        slot_P[place] = slot
    return slot_P


@njit(cache=True, nogil=True)
def _list_terms(
    text: Bytes,
    at: int,
    end: int,
    alphabet: Alphabet,
    most_words: int,
    lexicon: Lexicon,
    late_8: Slots,
    feature: IntArray,
    filled: int,
) -> int:
    """Writes the terms of one text behind `filled`, as often as they stand in it, and gives the new end.

    A pair is looked up eight pairs late, when what was asked of memory has come. And there is no branch on whether
    a term was found: the processor would guess wrong, and wait.
    """
    mask, pairs, previous, words = np.uint64(len(lexicon.pair_key_S) - 1), 0, -1, 0
    fold_256, word_byte, word_start_W1 = alphabet.fold_256, lexicon.word_byte, lexicon.word_start_W1
    while words < most_words:
        words += 1
        begin, stop, at, mixed = next_word(text, at, end, alphabet)
        if begin == end:
            break
        word, _ = find_word(text, begin, stop, mixed, fold_256, word_byte, word_start_W1, lexicon.word_slot_S)
        if word >= 0:
            feature[filled] = lexicon.word_feature_W[word]
            filled += feature[filled] >= 0
            if previous >= 0:
                key = join_pair(previous, word)
                _ask_for(lexicon.pair_key_S, _pair_home(key, mask))
                _ask_for(lexicon.pair_feature_S, _pair_home(key, mask))
                if pairs >= 8:
                    feature[filled] = lexicon.pair_feature_S[find_pair(late_8[pairs & 7], lexicon.pair_key_S)]
                    filled += feature[filled] >= 0  # -1 in a free slot
                late_8[pairs & 7] = key
                pairs += 1
        previous = word
    for pair in range(max(pairs - 8, 0), pairs):
        feature[filled] = lexicon.pair_feature_S[find_pair(late_8[pair & 7], lexicon.pair_key_S)]
        filled += feature[filled] >= 0
    return filled


@njit(cache=True, nogil=True)
def _sum_terms(feature: IntArray, value: FloatArray, begin: int, end: int, scratch: Scratch) -> int:
    """Makes a list of terms one row: each once, ascending, and how often it was there; gives the new end."""
    for place in range(begin, end):
        term = feature[place]
        scratch.count_V[term] += 1
        scratch.bit_V64[term >> 6] |= _ONE << np.uint64(term & 63)
        scratch.bit_V4096[term >> 12] |= _ONE << np.uint64((term >> 6) & 63)
    end = begin
    for upper in range(len(scratch.bit_V4096)):
        groups = scratch.bit_V4096[upper]
        scratch.bit_V4096[upper] = _ZERO
        while groups != _ZERO:
            group = upper << 6 | _trailing_zeros(groups)
            groups &= groups - _ONE
            bits = scratch.bit_V64[group]
            scratch.bit_V64[group] = _ZERO
            while bits != _ZERO:
                term = group << 6 | _trailing_zeros(bits)
                bits &= bits - _ONE
                feature[end] = term
                value[end] = scratch.count_V[term]
                scratch.count_V[term] = 0
                end += 1
    return end


@njit(cache=True, nogil=True)
def _weigh(feature: IntArray, value: FloatArray, begin: int, end: int, idf_V: FloatArray, style: Style) -> None:
    """Turns one row's counts into weights: by its count and idf, then the row to norm 1."""
    total = 0.0
    for place in range(begin, end):
        count, weight = value[place], np.float64(idf_V[feature[place]])
        if count != 1:
            if style.counts == LOGARITHM:
                weight *= 1 + np.log(np.float64(count))
            elif style.counts == COUNT:
                weight *= count
        value[place] = weight
        total += weight * weight if style.norm == 2 else weight  # no weight is negative
    if total < NOTHING:
        total = 1.0
    scale = np.float32(1 / (np.sqrt(total) if style.norm == 2 else total))
    for place in range(begin, end):
        value[place] *= scale


@njit(cache=True, nogil=True)
def weigh_rows(
    row_B1: npt.NDArray[Any], feature: npt.NDArray[Any], value: FloatArray, idf_V: FloatArray, style: Style
) -> None:
    """Turns the counts of CSR rows into weights, in place."""
    for row in range(len(row_B1) - 1):
        _weigh(feature, value, row_B1[row], row_B1[row + 1], idf_V, style)


@njit(cache=True, nogil=True)
def read_texts(
    text: Bytes,
    start_B1: Longs,
    alphabet: Alphabet,
    style: Style,
    lexicon: Lexicon,
    scratch: Scratch,
    idf_V: FloatArray,
    row_B1: IntArray,
    feature: IntArray,
    value: FloatArray,
) -> None:
    """The terms of texts as CSR rows: counts, or weights where `idf_V` is not empty.

    Args:
        row_B1: is filled.
        feature: is filled; has room for twice as many as there are words.
        value: as `feature`.
    """
    row_B1[0] = 0
    most_words = style.most_words if style.most_words > 0 else len(text) + 1
    for row in range(len(start_B1) - 1):
        at, end = start_B1[row], start_B1[row + 1]
        end = _list_terms(text, at, end, alphabet, most_words, lexicon, scratch.late_8, feature, row_B1[row])
        row_B1[row + 1] = _sum_terms(feature, value, row_B1[row], end, scratch)
        if len(idf_V) > 0:
            _weigh(feature, value, row_B1[row], row_B1[row + 1], idf_V, style)
