"""TF-IDF against scikit-learn, BM25 against a loop."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from raytagger.vectors import TfIdf, Vocabulary, bm25, idf, tfidf
from raytagger.vectors.style import SCRIPTS, WORDS
from raytagger.vectors.words import read_texts
from tests.unit.test_scripts import options_of
from tests.unit.test_terms import SENTENCES, TEXTS, counted

OTHERS = ["the mat and the cat of nobody", "東京 café öltanker", "", "entirely unknown words"]
UNICODE = st.text(st.sampled_from("aAbBßẞİıΣσς éE\u0301\u0308🎉東京_09٣Ⅷ.,-\n\0"), max_size=40)


def rival_of(vocabulary, texts):
    """scikit-learn with our vocabulary."""
    options = options_of(vocabulary.style.words)
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, vocabulary=vocabulary.terms, **options).fit(texts)


@pytest.mark.parametrize("max_terms", [1 << 20, 5])
@pytest.mark.parametrize("ngrams", [1, 2])
@pytest.mark.parametrize("words", [WORDS, SCRIPTS])
def test_tfidf_equals_scikit_learn(max_terms, ngrams, words):
    weigh = TfIdf.fit(TEXTS, ngrams, max_terms, words=words)
    rival = rival_of(weigh.vocabulary, TEXTS)
    for texts in (TEXTS, OTHERS):
        expected = rival.transform(texts).toarray()
        ours = tfidf(weigh.vocabulary.count(texts), idf(weigh.vocabulary))
        assert ours.dtype == weigh.transform(texts).dtype == np.float32
        np.testing.assert_allclose(ours.toarray(), expected, atol=1e-6)
        np.testing.assert_allclose(weigh.transform(texts).toarray(), expected, atol=1e-6)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(SENTENCES | UNICODE, min_size=1, max_size=8),
    st.lists(SENTENCES | UNICODE, max_size=4),
    st.integers(1, 2),
    st.sampled_from([WORDS, SCRIPTS]),
)
def test_tfidf_equals_scikit_learn_on_any_text(texts, others, least, words):
    weigh = TfIdf.fit(texts, min_frequency=least, words=words)
    ours = weigh.transform(others).toarray()
    if not weigh.vocabulary.terms or not others:
        assert ours.shape == (len(others), len(weigh.vocabulary.terms))
        return
    np.testing.assert_allclose(ours, rival_of(weigh.vocabulary, texts).transform(others).toarray(), atol=1e-6)


def test_fitted_alike_it_is_scikit_learns_own_vectorizer():
    rival = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    texts = [f"{one} and {two}" for one in TEXTS for two in TEXTS]
    expected = rival.fit_transform(texts)
    weigh = TfIdf.fit(texts, min_frequency=2, words=WORDS)
    assert sorted(weigh.vocabulary.terms) == sorted(rival.vocabulary_)
    columns = [rival.vocabulary_[term] for term in weigh.vocabulary.terms]
    np.testing.assert_allclose(weigh.transform(texts).toarray(), expected.toarray()[:, columns], atol=1e-6)


def test_a_large_vocabulary_comes_out_in_order():
    texts = [" ".join(f"w{number}" for number in range(start, start + 9000)) for start in (0, 3000)]
    weigh = TfIdf.fit(texts)
    assert len(weigh.vocabulary.terms) > 4096 * 5
    rows = weigh.rows(texts + texts[:1])
    np.testing.assert_array_equal(rows.csr().toarray()[0], rows.csr().toarray()[2])
    assert all((np.diff(rows.feature[at:end]) > 0).all() for at, end in pairwise(rows.row_B1))
    expected = rival_of(weigh.vocabulary, texts).transform(texts)
    np.testing.assert_allclose(rows.csr()[:2].toarray(), expected.toarray(), atol=1e-6)


def test_many_threads_share_one_vectorizer():
    weigh = TfIdf.fit(TEXTS)
    expected = [weigh.transform([text]).toarray() for text in TEXTS]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: weigh.transform([text]).toarray(), TEXTS * 50))
    for place, row in enumerate(found):
        np.testing.assert_array_equal(row, expected[place % len(TEXTS)])


def test_saved_and_loaded_it_weighs_the_same_and_compiles_nothing_anew(tmp_path):
    weigh = TfIdf.fit(TEXTS)
    weigh.warm()
    weigh.save(tmp_path / "terms")
    compiled = len(read_texts.signatures)
    again = TfIdf.load(tmp_path / "terms")
    np.testing.assert_array_equal(again.transform(OTHERS).toarray(), weigh.transform(OTHERS).toarray())
    again.vocabulary.count(OTHERS)
    assert len(read_texts.signatures) == compiled


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
    analyze = CountVectorizer(**options_of(SCRIPTS)).build_analyzer()
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
