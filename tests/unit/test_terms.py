"""Counting terms: order of batches, vocabulary, files."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from raytagger.vectors import TermCounts, Vocabulary

TEXTS = [
    "The cat sat on the mat; the cat slept.",
    "Ein Öltanker fährt über den Fluß, ein ÖLTANKER!",
    "東京 タワー 東京",
    "naïve café CAFÉ e\u0301clair x y z",
    "",
    "1234 12 1 under_score don't ٣٤٥",
    "\t\n  ",
    "emoji 🎉 party 🎉🎉 and null\0byte",
]
WORDS = st.lists(st.sampled_from(["apple", "Apple", "pear", "fig", "öl", "x", "kiwi9"]), max_size=8).map(" ".join)


def counted(batches):
    counts = TermCounts()
    for batch in batches:
        counts.add(batch)
    return counts


def test_counts_are_those_of_scikit_learn():
    counter = CountVectorizer()
    expected = counter.fit_transform(TEXTS)
    vocabulary = Vocabulary.from_counts(counted([TEXTS]))
    assert sorted(vocabulary.terms) == sorted(counter.vocabulary_)
    assert vocabulary.texts == len(TEXTS)
    frequency = dict(zip(vocabulary.terms, vocabulary.frequency_V, strict=True))
    in_texts = np.asarray((expected > 0).sum(axis=0)).ravel()
    assert frequency == {term: in_texts[column] for term, column in counter.vocabulary_.items()}
    columns = [counter.vocabulary_[term] for term in vocabulary.terms]
    np.testing.assert_array_equal(vocabulary.count(TEXTS).toarray(), expected.toarray()[:, columns])
    assert vocabulary.count(TEXTS).dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(st.lists(WORDS, max_size=12), st.integers(0, 99), st.integers(1, 5))
def test_neither_order_nor_batches_matter(texts, seed, size):
    shuffled = random.Random(seed).sample(texts, len(texts))
    whole = Vocabulary.from_counts(counted([texts]))
    cut = Vocabulary.from_counts(counted(shuffled[at : at + size] for at in range(0, len(texts), size)))
    left, right = counted([shuffled[:size]]), counted([shuffled[size:]])
    right.merge(left)
    for other in (cut, Vocabulary.from_counts(right)):
        assert other.terms == whole.terms
        assert other.frequency_V.tolist() == whole.frequency_V.tolist()
        assert other.texts == whole.texts


def test_the_most_frequent_terms_stay_and_ties_go_by_spelling():
    counts = counted([["bb aa cc", "bb cc", "bb dd", "aa"]])
    assert Vocabulary.from_counts(counts).terms == ["bb", "aa", "cc", "dd"]
    few = Vocabulary.from_counts(counts, max_terms=2)
    assert few.terms == ["bb", "aa"]
    assert few.count(["dd cc aa bb bb"]).toarray().tolist() == [[2, 1]]


@pytest.mark.parametrize(("texts", "shape"), [([], (0, 2)), (["", "zz"], (2, 2))])
def test_nothing_known_counts_nothing(texts, shape):
    vocabulary = Vocabulary.from_counts(counted([["aa bb"]]))
    assert vocabulary.count(texts).shape == shape
    assert vocabulary.count(texts).nnz == 0


def test_an_empty_vocabulary_counts_nothing():
    vocabulary = Vocabulary.from_counts(counted([["", "a"]]))
    assert vocabulary.terms == []
    assert vocabulary.count(["some text"]).shape == (1, 0)


@pytest.mark.parametrize("texts", [TEXTS, [""]])
def test_saved_and_loaded_it_is_the_same(tmp_path, texts):
    vocabulary = Vocabulary.from_counts(counted([texts]))
    vocabulary.save(tmp_path / "terms.parquet")
    again = Vocabulary.load(tmp_path / "terms.parquet")
    assert (again.terms, again.texts) == (vocabulary.terms, vocabulary.texts)
    assert again.frequency_V.tolist() == vocabulary.frequency_V.tolist()
    assert (again.count(texts) != vocabulary.count(texts)).nnz == 0
