"""TF-IDF against scikit-learn, BM25 against a loop."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from raytagger.vectors import TermCounts, Vocabulary, bm25, idf, tfidf
from tests.unit.test_terms import TEXTS, WORDS, counted

OTHERS = ["the mat and the cat of nobody", "東京 café öltanker", "", "entirely unknown words"]


@pytest.mark.parametrize("max_terms", [1 << 20, 5])
def test_tfidf_equals_scikit_learn(max_terms):
    vocabulary = Vocabulary.from_counts(counted([TEXTS]), max_terms)
    rival = TfidfVectorizer(sublinear_tf=True, vocabulary=vocabulary.terms).fit(TEXTS)
    for texts in (TEXTS, OTHERS):
        ours = tfidf(vocabulary.count(texts), idf(vocabulary))
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours.toarray(), rival.transform(texts).toarray(), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=8), st.lists(WORDS, max_size=4))
def test_tfidf_equals_scikit_learn_on_any_text(texts, others):
    vocabulary = Vocabulary.from_counts(counted([texts]))
    ours = tfidf(vocabulary.count(others), idf(vocabulary)).toarray()
    if not vocabulary.terms or not others:
        assert ours.shape == (len(others), len(vocabulary.terms))
        return
    rival = TfidfVectorizer(sublinear_tf=True, vocabulary=vocabulary.terms).fit(texts)
    np.testing.assert_allclose(ours, rival.transform(others).toarray(), atol=1e-6)


def test_rows_have_unit_length_and_unknown_texts_are_zero():
    vocabulary = Vocabulary.from_counts(counted([TEXTS]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weight_BV = tfidf(vocabulary.count([TEXTS[0], "", "qqq"]), idf(vocabulary)).toarray()
    np.testing.assert_allclose(np.linalg.norm(weight_BV, axis=1), [1, 0, 0], atol=1e-6)


def test_tfidf_leaves_the_counts_alone():
    vocabulary = Vocabulary.from_counts(counted([TEXTS]))
    count_BV = vocabulary.count(TEXTS)
    before = count_BV.toarray()
    tfidf(count_BV, idf(vocabulary))
    bm25(count_BV)
    np.testing.assert_array_equal(count_BV.toarray(), before)


def naive_bm25(labels, vocabulary, k1=1.2, b=0.75):
    """Every weight by the formula, from lists of words."""
    analyze = TermCounts()._analyze
    known = [[word for word in analyze(label) if word in vocabulary.terms] for label in labels]
    mean_length = sum(map(len, known)) / len(known)
    weights = np.zeros((len(labels), len(vocabulary.terms)))
    for row, words in enumerate(known):
        for word in set(words):
            n = sum(word in others for others in known)
            weight = math.log(1 + (len(labels) - n + 0.5) / (n + 0.5))
            count = words.count(word)
            norm = k1 * (1 - b + b * len(words) / mean_length)
            weights[row, vocabulary.terms.index(word)] = weight * count * (k1 + 1) / (count + norm)
    return weights


@pytest.mark.parametrize("labels", [TEXTS, [*OTHERS, "cat cat cat"], ["cat"]])
def test_bm25_equals_a_loop(labels):
    vocabulary = Vocabulary.from_counts(counted([TEXTS]))
    weight_LV = bm25(vocabulary.count(labels))
    assert weight_LV.dtype == np.float32
    assert weight_LV.data.min() > 0
    np.testing.assert_allclose(weight_LV.toarray(), naive_bm25(labels, vocabulary), rtol=1e-5, atol=1e-6)


def test_bm25_of_labels_without_known_terms_is_zero():
    vocabulary = Vocabulary.from_counts(counted([TEXTS]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bm25(vocabulary.count(["", "qqq"])).nnz == 0
