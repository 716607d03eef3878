"""Words in every script: against a slow reference, and what a person who writes it would say."""

import json
import re
import sys
import unicodedata
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

import raytagger
from raytagger.errors import BundleError, SettingsError
from raytagger.vectors import TermCounts, TfIdf, Vocabulary
from raytagger.vectors.scripts import APART, INVISIBLE, LETTER, MARK, UNSPACED, kinds
from raytagger.vectors.style import RUNS, SCRIPTS, WORDS, Style
from tests.unit.test_words import words_of

OLD = Path(__file__).parents[1] / "data" / "before_scripts"
NAMES_WITHOUT_SPACES = (
    "AHOM", "BALINESE", "BOPOMOFO", "CJK COMPATIBILITY IDEOGRAPH", "CJK UNIFIED IDEOGRAPH", "HALFWIDTH KATAKANA",
    "HANGZHOU", "HENTAIGANA", "HIRAGANA", "IDEOGRAPHIC ANNOTATION", "IDEOGRAPHIC CLOSING", "IDEOGRAPHIC ITERATION",
    "IDEOGRAPHIC NUMBER", "JAVANESE", "KATAKANA", "KHITAN", "KHMER", "LAO", "MASU", "MYANMAR", "NEW TAI LUE",
    "NUSHU", "OLD CHINESE", "TAI LE", "TAI THAM", "TAI VIET", "TANGUT", "THAI", "VERTICAL IDEOGRAPHIC",
    "VERTICAL KANA", "YI SYLLABLE",
)  # fmt: skip
SOME = "aZ_9 .ß\u0130Σς٣é\u0301\u093f\u094d\u0915東京をーทั่ក្មར한국ᄀ\u00ad\u200b\u200c\u200d\ufe0f🎉1\u20e3\0"


@cache
def kind_of(character):
    """What a character is to words, from Unicode's names and categories."""
    category = unicodedata.category(character)
    if category in ("Mn", "Mc"):
        return MARK
    if category.startswith("C") or not re.match(r"\w", character):
        return APART
    name = unicodedata.name(character, "TANGUT")  # Python knows no names of its ideographs
    return UNSPACED if category != "Nd" and name.startswith(NAMES_WITHOUT_SPACES) else LETTER


def slow_words(text):
    """The words of a text, a character at a time."""
    seen = [character for character in text.lower() if character not in INVISIBLE]
    units = []  # of a kind and characters: each with its marks
    for character in "".join(seen).encode(errors="replace").decode():
        kind = kind_of(character)
        if kind == MARK:
            if units and units[-1][0] != APART:
                units[-1][1] += character
            continue
        units.append([kind, character])
    words = []
    for kind, run in groupby(units, key=lambda unit: unit[0]):
        parts = [part for _, part in run]
        if kind == LETTER and len("".join(parts)) > 1:
            words.append("".join(parts))
        if kind == UNSPACED:
            words += [left + right for left, right in pairwise(parts)] or parts
    return words


def options_of(words):
    """What makes scikit-learn's vectorisers see words in that way."""
    return {} if words == WORDS else {"tokenizer": slow_words, "token_pattern": None, "lowercase": False}


@pytest.mark.slow
def test_the_kind_of_every_character_is_what_unicode_says_of_it():
    expected = [kind_of(chr(code)) for code in range(sys.maxunicode + 1)]
    np.testing.assert_array_equal(kinds(), expected)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.text(st.one_of(st.characters(), st.sampled_from(SOME)), max_size=30), min_size=1, max_size=4))
@example(["ab第ab第ab", "\u0301a\u0301b", "东", "\u094dक", "é", "e\u0301", "\u3099か\u3099き"])
def test_words_are_those_of_a_slow_reference(texts):
    assert words_of(texts, SCRIPTS) == [slow_words(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी में किताबें", ["हिन्दी", "में", "किताबें"]),
        ("తెలుగు పుస్తకాలు చదువు", ["తెలుగు", "పుస్తకాలు", "చదువు"]),
        ("আমি বাংলায় গান গাই", ["আমি", "বাংলায়", "গান", "গাই"]),
        ("தமிழ் நூல்கள்", ["தமிழ்", "நூல்கள்"]),
        ("السَّلَامُ عَلَيْكُمْ", ["السَّلَامُ", "عَلَيْكُمْ"]),
        ("שָׁלוֹם עוֹלָם", ["שָׁלוֹם", "עוֹלָם"]),
        ("caf\u00e9 cafe\u0301", ["caf\u00e9", "cafe\u0301"]),
        ("한국어 책을 읽다", ["한국어", "책을", "읽다"]),
        ("བོད་ཡིག", ["བོད", "ཡིག"]),
        ("می\u200cخواهم", ["میخواهم"]),  # one word with the joiner and without
        ("ශ්\u200dරී ලංකා", ["ශ්රී", "ලංකා"]),
        ("Donau\u00addampf", ["donaudampf"]),
        ("\u2764\ufe0flove 1\ufe0f\u20e3", ["love"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("iPhoneを買う", ["iphone", "を買", "買う"]),
        ("第3章 第12章", ["第", "章", "第", "12", "章"]),
        ("图书馆，書", ["图书", "书馆", "書"]),
        ("ที่นี่ ๒๕๖๗", ["ที่นี่", "๒๕๖๗"]),
        ("ភាសា\u200bខ្មែរ", ["ភាសា", "ខ្មែ", "មែរ"]),  # a space without width is one
        ("မြန်မာ", ["မြန်", "န်မာ"]),
    ],
)
def test_words_of_many_languages(text, words):
    assert words_of([text], SCRIPTS) == [words]
    vocabulary = Vocabulary.from_counts(counted([text]))
    assert sorted(vocabulary.terms) == sorted(set(words))
    assert vocabulary.count([text]).sum() == len(words)


def counted(texts, ngrams=1, words=SCRIPTS):
    counts = TermCounts(ngrams, words)
    counts.add(texts)
    return counts


def test_a_pair_of_a_text_without_spaces_is_three_characters():
    assert Vocabulary.from_counts(counted(["東京都", "ab 東京都"], 2)).terms == [
        "京都", "東京", "東京 京都", "ab", "ab 東京",
    ]  # fmt: skip


PLAIN_SCRIPTS = st.text(
    st.one_of(
        st.characters(max_codepoint=0x2FF, exclude_characters=INVISIBLE + "\u0130"),
        st.characters(categories=("Ll", "Lu", "Lo", "Nd", "Zs", "Po"), min_codepoint=0x370, max_codepoint=0x6FF),
        st.sampled_from("aA .ΣςßẞЖж한국어"),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PLAIN_SCRIPTS, min_size=1, max_size=6))
def test_scripts_with_spaces_and_no_marks_are_seen_as_scikit_learn_sees_them(texts):
    analyze = CountVectorizer().build_analyzer()
    assert words_of(texts, SCRIPTS) == [analyze(text) for text in texts]


def test_a_corpus_of_many_scripts_is_weighed_as_scikit_learn_weighs_the_words():
    texts = ["हिन्दी में किताबें हिन्दी", "東京タワーへ行く 東京", "Café cafe\u0301 CAFÉ", "ภาษาไทย", "ab第ab第ab"]
    weigh = TfIdf.fit(texts)
    rival = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, vocabulary=weigh.vocabulary.terms, **options_of(SCRIPTS)
    ).fit(texts)
    np.testing.assert_allclose(weigh.transform(texts).toarray(), rival.transform(texts).toarray(), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.text("第abก", max_size=60), st.integers(0, 40))
def test_texts_of_the_most_words_a_byte_fit(text, repeats):
    text *= repeats
    words = slow_words(text)
    vocabulary = Vocabulary.from_counts(counted([text], 2))
    expected = len(words) + max(len(words) - 1, 0)
    assert vocabulary.count([text, text]).sum() == 2 * expected


def test_the_way_words_are_seen_is_kept(tmp_path):
    for words in (SCRIPTS, WORDS):
        vocabulary = Vocabulary.from_counts(counted(["हिन्दी में 東京タワー"], words=words))
        vocabulary.save(tmp_path / str(words))
        assert Vocabulary.load(tmp_path / str(words)).style == vocabulary.style == Style(words=words)


def test_counts_of_words_seen_in_two_ways_are_not_added():
    with pytest.raises(SettingsError, match="see words"):
        counted(["a"]).merge(counted(["a"], words=WORDS))


def test_a_way_to_see_words_that_is_not_known_is_refused(tmp_path):
    Vocabulary.from_counts(counted(["some words"])).save(tmp_path)
    np.save(tmp_path / "style.npy", np.array(Style(words=99), np.int64))
    with pytest.raises(BundleError, match="newer raytagger"):
        Vocabulary.load(tmp_path)


def test_bundles_from_before_weigh_and_tag_as_they_did():
    """`before_scripts` was fitted and asked by code of 28cf577."""
    tagger, told = raytagger.load(str(OLD)), json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
    vocabulary = tagger.vocabulary
    assert vocabulary.style.words == WORDS
    rows = TfIdf(vocabulary).transform(told["texts"])
    scores = tagger.tag(told["texts"], 3)
    for row, (weights, tags) in enumerate(zip(told["weights"], told["tags"], strict=True)):
        found = {
            vocabulary.terms[column]: weight
            for column, weight in zip(rows[row].indices, rows[row].data, strict=True)
        }
        assert found == pytest.approx(weights, abs=1e-6)
        pairs = zip(scores.label_BK[row].tolist(), scores.score_BK[row].tolist(), strict=True)
        best = [(tagger.labels.ids[label], score) for label, score in pairs if score > 0]
        assert [label for label, _ in best] == [label for label, _ in tags]
        assert [score for _, score in best] == pytest.approx([score for _, score in tags], abs=1e-5)


def test_runs_and_words_of_older_ways_are_not_touched():
    texts = ["हिन्दी में", "東京タワー é\u00ada"]
    assert words_of(texts, WORDS) == [re.findall(r"\w\w+", text.lower()) for text in texts]
    assert words_of(texts, RUNS) == [text.split(" ") for text in texts]
