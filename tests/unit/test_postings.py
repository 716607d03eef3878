"""Labels by their terms against a matrix of all cosines."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from raytagger.schema import PAD
from raytagger.vectors import Postings, SparseRows, merge_disjoint, top_k
from raytagger.vectors.postings import find_best

TERMS = 24


def rows_of(rng, rows, share, counts_V):
    """Random rows; terms before the sixth are in nearly all of them."""
    dense = rng.random((rows, TERMS)) * (rng.random((rows, TERMS)) < np.where(np.arange(TERMS) < 6, 0.9, share))
    dense = np.where(counts_V, dense, 0).round(1).astype(np.float32)
    length = np.linalg.norm(dense, axis=1, keepdims=True)
    return dense / np.where(length, length, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(0, 9), st.integers(1, 60), st.integers(1, 12), st.booleans())
def test_the_best_are_those_of_all_cosines(seed, documents, labels, k, limited):
    rng = np.random.default_rng(seed)
    counts_V = rng.random(TERMS) < 0.8
    label_LV, doc_BV = rows_of(rng, labels, 0.05, counts_V), rows_of(rng, documents, 0.2, np.ones(TERMS, bool))
    counted = np.where(counts_V, doc_BV, 0)
    length = np.linalg.norm(counted, axis=1, keepdims=True)
    cosine_BL = (counted / np.where(length, length, 1)) @ label_LV.T
    allowed_L = rng.random(labels) < 0.7 if limited else None
    if allowed_L is not None:
        cosine_BL = np.where(allowed_L, cosine_BL, -np.inf)
    cosine_BL = cosine_BL.astype(np.float32)
    rows = SparseRows.of(sp.csr_matrix(doc_BV))
    found = Postings(sp.csr_matrix(label_LV), counts_V).best(rows, k, allowed_L)
    np.testing.assert_allclose(found.score_BK, top_k(cosine_BL, k).score_BK, atol=1e-6)
    for row in range(documents):
        chosen = found.label_BK[row][found.label_BK[row] != PAD]
        assert len(set(chosen.tolist())) == len(chosen)
        np.testing.assert_allclose(cosine_BL[row, chosen], found.score_BK[row, : len(chosen)], atol=1e-6)


def test_ties_and_labels_of_no_common_term_go_by_index():
    label_LV = sp.csr_matrix(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]], np.float32))
    rows = SparseRows.of(sp.csr_matrix(np.array([[2, 0, 0]], np.float32)))
    found = Postings(label_LV, np.ones(3, bool)).best(rows, 6)
    assert found.label_BK.tolist() == [[1, 3, 0, 2, PAD, PAD]]
    assert found.score_BK.tolist() == [[1, 1, 0, 0, -np.inf, -np.inf]]


def test_once_warm_nothing_is_compiled():
    Postings.warm()
    compiled = len(find_best.signatures)
    rows = SparseRows.of(sp.csr_matrix(np.eye(3, dtype=np.float32)))
    Postings(sp.csr_matrix(np.eye(3, dtype=np.float32)), np.ones(3, bool)).best(rows, 2, np.ones(3, bool))
    assert len(find_best.signatures) == compiled


@pytest.mark.parametrize("k", [1, 3, 5])
def test_disjoint_results_merge_to_the_best_of_both(k):
    score_BL = np.array([[0.5, 0.9, 0.5, 0.1, 0.5, 0.9], [0, -1, 2, 0, 0, 0]], np.float32)
    even = np.array([True, False] * 3)
    left, right = (top_k(np.where(part, score_BL, np.float32(-np.inf)), k) for part in (~even, even))
    merged, whole = merge_disjoint(left, right, k), top_k(score_BL, k)
    np.testing.assert_array_equal(merged.label_BK, whole.label_BK)
    np.testing.assert_array_equal(merged.score_BK, whole.score_BK)
