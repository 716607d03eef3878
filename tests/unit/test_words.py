"""Words as Python's `re` finds them in lower-cased text, from raw bytes."""

import re
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raytagger.vectors.scan import hash_word, next_word
from raytagger.vectors.scripts import word_characters
from raytagger.vectors.style import RUNS, WORDS, alphabet, join_texts
from raytagger.vectors.words import (
    NO_PAIR,
    fill_words,
    find_pair,
    find_word,
    join_pair,
    place_pairs,
    table_size,
)

TEXT = st.text(st.one_of(st.characters(), st.sampled_from("aZ_9 .ßİΣςσı٣東é\u0301🎉\0")), max_size=30)


FOLD = alphabet(WORDS).fold_256


def words_of(texts, way):
    """The words of each text, by the kernel."""
    text, start_B1 = join_texts(texts, way)
    letters = alphabet(way)
    found = []
    for at, end in pairwise(start_B1):
        words = []
        while True:
            begin, stop, at, mixed = next_word(text, at, end, letters)
            if begin == end:
                break
            word = letters.fold_256[text[begin:stop]]
            assert mixed == hash_word(word, 0, len(word))
            words.append(bytes(word).decode())
        found.append(words)
    return found


@pytest.mark.slow
def test_word_characters_are_those_of_re():
    expected = [bool(re.match(r"\w", chr(code))) for code in range(sys.maxunicode + 1)]
    np.testing.assert_array_equal(word_characters(), expected)


@settings(max_examples=120, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
@example(["ΑΣ", "Σ a", "ΣΑΣ"])  # a final sigma is lower-cased by what follows in its own text
@example(["İİ", "ß ẞß", "a\u0301b", "x🎉yy", "é", "éé", "\ud800ab"])
def test_words_are_those_of_scikit_learns_pattern(texts):
    pattern = re.compile(r"(?u)\b\w\w+\b")
    assert words_of(texts, WORDS) == [pattern.findall(text.lower()) for text in texts]


@settings(max_examples=80, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4))
@example([" a  B ", "a\n\tb\u00a0c", "é è", "\ud800 x"])
def test_runs_are_what_stands_between_spaces(texts):
    sent = [text.encode(errors="replace").decode() for text in texts]
    expected = [[word for word in re.split("[ \0]", text) if word] for text in sent]
    assert words_of(texts, RUNS) == expected


def test_the_hash_is_of_the_lower_cased_word():
    text, _ = join_texts(["Word word wrod"], WORDS)
    first, second, third = (next_word(text, at, len(text), alphabet(WORDS))[3] for at in (0, 4, 9))
    assert first == second != third


@settings(max_examples=100, deadline=None)
@given(st.sets(st.text("abAB", min_size=1, max_size=3).map(str.lower), max_size=40), st.sampled_from([0.5, 0.9]))
def test_a_table_finds_what_it_holds_and_nothing_else(held, load):
    words = sorted(held)
    word_byte, word_start_W1 = join_texts(words, WORDS) if words else (np.zeros(0, np.uint8), np.zeros(1, np.int64))
    slot_S = np.zeros(table_size(len(words), load), np.uint64)
    fill_words(word_byte, word_start_W1, len(words), slot_S)
    for asked in [*words, "c", "zzz", "abba"]:
        text, _ = join_texts([asked.upper()], WORDS)
        mixed = np.uint64(hash_word(FOLD[text], 0, len(text)))  # numba gives Python's int back
        word, _ = find_word(text, 0, len(text), mixed, FOLD, word_byte, word_start_W1, slot_S)
        assert word == (words.index(asked) if asked in held else -1)


def test_words_of_one_hash_are_told_apart():
    word_byte, word_start_W1 = join_texts(["ab", "cd"], WORDS)
    mixed = np.uint64(7 << 32 | 1)
    slot_S = np.array([0, 7 << 32 | 1, 7 << 32 | 2, 0], np.uint64)  # both words claim the same hash
    for place, word in enumerate(["ab", "cd"]):
        text, _ = join_texts([word], WORDS)
        assert find_word(text, 0, 2, mixed, FOLD, word_byte, word_start_W1, slot_S)[0] == place
    text, _ = join_texts(["ef"], WORDS)
    assert find_word(text, 0, 2, mixed, FOLD, word_byte, word_start_W1, slot_S)[0] == -1


@settings(max_examples=100, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 2**31 - 1)), max_size=40))
def test_a_pair_table_finds_what_it_holds_and_nothing_else(held):
    pairs = sorted(held)
    key_S = np.full(table_size(len(pairs), 0.75), NO_PAIR)
    key_P = np.array([join_pair(*pair) for pair in pairs], np.uint64)
    slot_P = place_pairs(key_P, key_S)
    assert [find_pair(key, key_S) for key in key_P] == slot_P.tolist()
    assert (key_S != NO_PAIR).sum() == len(held)
    assert key_S[find_pair(np.uint64(join_pair(6, 1)), key_S)] == NO_PAIR


@pytest.mark.parametrize(("entries", "load", "slots"), [(0, 0.5, 4), (2, 0.5, 4), (3, 0.5, 8), (3, 0.75, 4)])
def test_tables_have_room(entries, load, slots):
    assert table_size(entries, load) == slots
