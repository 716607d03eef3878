"""Counting terms: against scikit-learn, whatever the batches; vocabulary, files."""

import pickle
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from raytagger.errors import BundleError, SettingsError
from raytagger.vectors import Style, TermCounts, Vocabulary
from raytagger.vectors.style import COUNT, RUNS, SCRIPTS, WORDS
from tests.unit.test_scripts import options_of

TEXTS = [
    "The cat sat on the mat; the cat slept.",
    "Ein Öltanker fährt über den Fluß, ein ÖLTANKER!",
    "東京 タワー 東京",
    "naïve café CAFÉ e\u0301clair x y z",
    "",
    "1234 12 1 under_score don't ٣٤٥",
    "\t\n  ",
    "emoji 🎉 party 🎉🎉 and null\0byte",
    "İstanbul ISTANBUL istanbul ΟΔΟΣ Οδός ΟΔΟΣ. the cat",
]
SENTENCES = st.lists(
    st.sampled_from(["apple", "Apple", "pear", "fig", "öl", "x", "kiwi9", "aa", "aaa"]), max_size=8
).map(" ".join)


def counted(batches, ngrams=1, words=SCRIPTS):
    counts = TermCounts(ngrams, words)
    for batch in batches:
        counts.add(batch)
    return counts


def frequencies(vocabulary):
    return dict(zip(vocabulary.terms, vocabulary.frequency_V.tolist(), strict=True))


def by_hand(texts, ngrams):
    """Document frequencies from scikit-learn's own analyzer, of words that are found one character at a time."""
    analyze = CountVectorizer(ngram_range=(1, ngrams), **options_of(SCRIPTS)).build_analyzer()
    return Counter(term for text in texts for term in set(analyze(text)))


@pytest.mark.parametrize("words", [WORDS, SCRIPTS])
@pytest.mark.parametrize("ngrams", [1, 2])
def test_counts_are_those_of_scikit_learn(ngrams, words):
    counter = CountVectorizer(ngram_range=(1, ngrams), **options_of(words))
    expected = counter.fit_transform(TEXTS)
    vocabulary = Vocabulary.from_counts(counted([TEXTS], ngrams, words))
    assert vocabulary.texts == len(TEXTS)
    assert sorted(vocabulary.terms) == sorted(counter.vocabulary_)
    columns = [counter.vocabulary_[term] for term in vocabulary.terms]
    count_BV = vocabulary.count(TEXTS)
    np.testing.assert_array_equal(count_BV.toarray(), expected.toarray()[:, columns])
    np.testing.assert_array_equal(vocabulary.frequency_V, (expected.toarray()[:, columns] > 0).sum(axis=0))
    assert (count_BV.dtype, count_BV.indices.dtype) == (np.float32, np.int32)
    assert count_BV.has_sorted_indices


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SENTENCES | st.text(max_size=12), max_size=12), st.integers(0, 99), st.integers(1, 5), st.booleans()
)
def test_neither_order_nor_batches_matter(texts, seed, size, pairs):
    shuffled = random.Random(seed).sample(texts, len(texts))
    whole = Vocabulary.from_counts(counted([texts], 1 + pairs))
    cut = counted((shuffled[at : at + size] for at in range(0, len(texts), size)), 1 + pairs)
    left, right = counted([shuffled[:size]], 1 + pairs), counted([shuffled[size:]], 1 + pairs)
    right.merge(left)
    sent = pickle.loads(pickle.dumps(left))
    sent.add(shuffled[size:])
    assert frequencies(whole) == by_hand(texts, 1 + pairs)
    for other in map(Vocabulary.from_counts, (cut, right, sent)):
        assert other.terms == whole.terms
        assert other.texts == whole.texts
        for one, two in zip(other.arrays, whole.arrays, strict=True):
            np.testing.assert_array_equal(one, two)


def test_tables_that_grow_lose_nothing():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.zipf(1.3, 300) % 50_000) for _ in range(150)]
    whole = counted([texts], 2)
    assert frequencies(Vocabulary.from_counts(whole)) == by_hand(texts, 2)
    parts = [counted([texts[at::4]], 2) for at in range(4)]
    for part in parts[1:]:
        parts[0].merge(part)
    one, two = Vocabulary.from_counts(whole), Vocabulary.from_counts(parts[0])
    assert (one.terms, one.frequency_V.tolist()) == (two.terms, two.frequency_V.tolist())


def test_a_text_longer_than_the_tables_is_counted():
    text = " ".join(f"n{number}" for number in range(30_000))
    vocabulary = Vocabulary.from_counts(counted([["nn", text, "n5 n6"]], 2))
    assert len(vocabulary.terms) == 1 + 30_000 + 29_999
    assert vocabulary.terms[:3] == ["n5", "n5 n6", "n6"]


def test_the_most_frequent_terms_stay_and_ties_go_by_spelling():
    counts = counted([["bb aa cc", "bb cc", "bb dd", "aa"]])
    assert Vocabulary.from_counts(counts).terms == ["bb", "aa", "cc", "dd"]
    few = Vocabulary.from_counts(counts, max_terms=2)
    assert few.terms == ["bb", "aa"]
    assert few.count(["dd cc aa bb bb"]).toarray().tolist() == [[2, 1]]
    assert Vocabulary.from_counts(counts, min_frequency=2).terms == ["bb", "aa", "cc"]


@settings(max_examples=60, deadline=None)
@given(st.lists(SENTENCES | st.text("aAbé٣_ 東", max_size=9), max_size=8), st.integers(0, 20), st.integers(1, 3))
def test_the_choice_is_that_of_a_sort(texts, most, least):
    rows = [row for row in by_hand(texts, 2).items() if row[1] >= least]
    expected = sorted(rows, key=lambda row: (-row[1], row[0]))[:most]
    vocabulary = Vocabulary.from_counts(counted([texts], 2), most, least)
    assert list(zip(vocabulary.terms, vocabulary.frequency_V.tolist(), strict=True)) == expected


def test_a_pair_whose_words_are_no_terms_is_found():
    vocabulary = Vocabulary.from_terms(["over there", "there", "new york"], np.array([3, 2, 1]), 4)
    assert vocabulary.count(["New  York, over\nthere!", "york new there over"]).toarray().tolist() == [
        [1, 1, 1],
        [0, 1, 0],
    ]


@pytest.mark.parametrize(("texts", "shape"), [([], (0, 2)), (["", "zz"], (2, 2))])
def test_nothing_known_counts_nothing(texts, shape):
    vocabulary = Vocabulary.from_counts(counted([["aa bb"]]))
    assert vocabulary.count(texts).shape == shape
    assert vocabulary.count(texts).nnz == 0


def test_an_empty_vocabulary_counts_nothing():
    vocabulary = Vocabulary.from_counts(counted([["", "a"]]))
    assert vocabulary.terms == []
    assert vocabulary.count(["some text"]).shape == (1, 0)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_change_nothing(threads):
    vocabulary = Vocabulary.from_counts(counted([TEXTS], 2))
    alone, shared = vocabulary.rows(TEXTS * 5), vocabulary.rows(TEXTS * 5, threads=threads)
    for one, two in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("texts", [TEXTS, [""]])
@pytest.mark.parametrize("ngrams", [1, 2])
def test_saved_and_loaded_it_is_the_same(tmp_path, texts, ngrams):
    vocabulary = Vocabulary.from_counts(counted([texts], ngrams))
    vocabulary.save(tmp_path / "terms")
    assert {path.suffix for path in (tmp_path / "terms").iterdir()} == {".npy"}
    for again in (Vocabulary.load(tmp_path / "terms"), pickle.loads(pickle.dumps(vocabulary))):
        assert (again.terms, again.texts) == (vocabulary.terms, vocabulary.texts)
        assert again.frequency_V.tolist() == vocabulary.frequency_V.tolist()
        assert (again.count(texts) != vocabulary.count(texts)).nnz == 0


def test_the_file_of_older_bundles_is_read(tmp_path):
    rows = pa.table({"term": ["the", "öl", "c++"], "frequency": pa.array([3, 2, 1], pa.int64())})
    pq.write_table(rows.replace_schema_metadata({"texts": "4"}), tmp_path / "terms.parquet")
    vocabulary = Vocabulary.load(tmp_path / "terms.parquet")
    assert (vocabulary.terms, vocabulary.texts) == (["the", "öl", "c++"], 4)
    assert vocabulary.frequency_V.tolist() == [3, 2, 1]
    assert vocabulary.count(["The ÖL the c++"]).toarray().tolist() == [[2, 1, 0]]


def test_folders_from_before_styles_are_read(tmp_path):
    vocabulary = Vocabulary.from_counts(counted([TEXTS], 2, WORDS))
    vocabulary.save(tmp_path)
    for name in ("style", "idf_V"):
        (tmp_path / f"{name}.npy").unlink()
    again = Vocabulary.load(tmp_path)
    assert again.style == vocabulary.style == Style()
    assert (again.count(TEXTS) != vocabulary.count(TEXTS)).nnz == 0


def test_a_style_and_its_idf_are_kept(tmp_path):
    style, idf_V = Style(words=RUNS, counts=COUNT, norm=1, most_words=3), np.array([1, 0.5], np.float32)
    Vocabulary.from_terms(["A b", "A"], np.ones(2, np.int64), 0, style, idf_V).save(tmp_path)
    again = Vocabulary.load(tmp_path)
    assert again.style == style
    assert again.arrays.idf_V.tolist() == [1, 0.5]
    assert again.count(["A b A A b", "a b"]).toarray().tolist() == [[1, 2], [0, 0]]
    for wrong in (np.ones(3), np.array([1, -1]), np.array([1, np.nan])):
        with pytest.raises(BundleError, match="idf"):
            Vocabulary.from_terms(["A b", "A"], np.ones(2, np.int64), 0, style, wrong.astype(np.float32))


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_folder_is_named(tmp_path, damage):
    Vocabulary.from_counts(counted([TEXTS])).save(tmp_path / "terms")
    file = tmp_path / "terms" / "word_byte.npy"
    data = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(data[:-9])
    with pytest.raises(BundleError, match=r"terms cannot be read"):
        Vocabulary.load(tmp_path / "terms")


@pytest.mark.parametrize("terms", [["a b c"], ["two  spaces"], [""], ["twice", "twice"]])
def test_what_is_no_vocabulary_is_refused(terms):
    with pytest.raises(BundleError):
        Vocabulary.from_terms(terms, np.ones(len(terms), np.int64), 1)


def test_only_words_and_pairs_are_counted():
    with pytest.raises(SettingsError, match="1 or 2"):
        TermCounts(3)
    with pytest.raises(SettingsError, match="ngrams of counts to merge"):
        TermCounts(1).merge(TermCounts(2))
