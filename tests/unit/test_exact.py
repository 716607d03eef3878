"""Exact search over blocks against one matrix."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from raytagger.schema import PAD
from raytagger.search import ConstantScorer, DenseScorer, SparseLabels, SparseScorer, exact, search_exact
from raytagger.search.exact import score_moments
from tests.unit.test_topk import assert_same, sorted_top_k


@pytest.fixture(params=[(3, 4), (2, 1), (256, 16384)], ids=str)
def blocks(request, monkeypatch):
    """Blocks smaller than the data, and the real ones; both sides of a sparse search read the same constants."""
    rows, labels = request.param
    monkeypatch.setattr(exact, "ROWS", rows)
    monkeypatch.setattr(exact, "LABELS", labels)
    return request.param


def integers(rng, rows, columns):
    """Small integers, whose sums are exact however they are cut, with many ties."""
    return rng.integers(-2, 3, (rows, columns)).astype(np.float32)


def make(seed, documents=11, labels=18, width=3):
    """One scorer of each kind, and the whole score matrix of each."""
    rng = np.random.default_rng(seed)
    doc_BD, label_LD = integers(rng, documents, width), integers(rng, labels, width)
    doc_BV, label_LV = np.abs(integers(rng, documents, 7)), np.abs(integers(rng, labels, 7))
    popular_L = integers(rng, 1, labels)[0]
    sparse = SparseScorer(sp.csr_matrix(doc_BV), SparseLabels(sp.csr_matrix(label_LV)))
    return {
        "dense": (DenseScorer(doc_BD, label_LD), doc_BD @ label_LD.T),
        "sparse": (sparse, doc_BV @ label_LV.T),
        "constant": (ConstantScorer(documents, popular_L), np.tile(popular_L, (documents, 1))),
    }


@pytest.mark.parametrize("names", [("dense",), ("sparse",), ("constant",), ("dense", "sparse")], ids="+".join)
@pytest.mark.parametrize("k", [1, 5, 30])
def test_blocks_equal_the_whole(blocks, names, k):
    made = make(seed=k)
    allowed_L = np.random.default_rng(k).random(18) < 0.7
    found = search_exact([made[name][0] for name in names], 11, allowed_L, k)
    score_BL = sum(made[name][1] for name in names) / np.float32(len(names))
    assert_same(found, sorted_top_k(np.where(allowed_L, score_BL, -np.inf).astype(np.float32), k))


@pytest.mark.parametrize("names", [("dense",), ("sparse",), ("constant",), ("dense", "sparse")], ids="+".join)
def test_moments_are_those_of_the_whole(blocks, names):
    made = make(seed=5)
    known_B = np.random.default_rng(5).random(11) < 0.6
    mean_L, deviation_L = score_moments([made[name][0] for name in names], known_B, 18, np.exp)
    score_BL = np.exp(sum(made[name][1] for name in names) / len(names))[known_B]
    np.testing.assert_allclose(mean_L, score_BL.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation_L, score_BL.std(axis=0), rtol=1e-5, atol=1e-5)
    assert (deviation_L[np.ptp(score_BL, axis=0) == 0] == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 25), st.integers(1, 6))
def test_any_shape_equals_the_whole(seed, documents, labels, k):
    made = make(seed, documents, labels)
    found = search_exact([made["dense"][0], made["constant"][0]], documents, np.ones(labels, bool), k)
    assert_same(found, sorted_top_k((made["dense"][1] + made["constant"][1]) / np.float32(2), k))


def test_only_allowed_labels_are_answered(blocks):
    made = make(1)
    allowed_L = np.zeros(18, bool)
    allowed_L[[2, 17]] = True
    found = search_exact([made["dense"][0]], 11, allowed_L, 4)
    assert {tuple(sorted(row)) for row in found.label_BK[:, :2].tolist()} == {(2, 17)}
    assert (found.label_BK[:, 2:] == PAD).all()
    assert (search_exact([made["dense"][0]], 11, np.zeros(18, bool), 4).label_BK == PAD).all()


def test_no_documents_give_no_rows():
    found = search_exact(
        [DenseScorer(np.zeros((0, 3), np.float32), np.ones((5, 3), np.float32))], 0, np.ones(5, bool), 4
    )
    assert found.label_BK.shape == found.score_BK.shape == (0, 4)


def test_no_array_is_larger_than_a_block(monkeypatch):
    """The largest score array ever asked for is ROWS x LABELS, and every pair is asked for once."""
    monkeypatch.setattr(exact, "ROWS", 4)
    monkeypatch.setattr(exact, "LABELS", 8)
    asked = np.zeros((10, 21), int)

    class Watched(DenseScorer):
        def block(self, rows, labels):
            score_BL = super().block(rows, labels)
            assert score_BL.size <= 32
            asked[rows, labels] += 1
            return score_BL

    rng = np.random.default_rng(0)
    search_exact([Watched(integers(rng, 10, 3), integers(rng, 21, 3))], 10, np.ones(21, bool), 3)
    assert (asked == 1).all()


def test_memory_does_not_grow_with_the_documents(monkeypatch):
    """2,000 documents x 1,000 labels would be 8 MB of scores; a block is 64 kB."""
    monkeypatch.setattr(exact, "ROWS", 64)
    monkeypatch.setattr(exact, "LABELS", 250)
    rng = np.random.default_rng(0)
    scorer = DenseScorer(rng.random((2_000, 2), np.float32), rng.random((1_000, 2), np.float32))
    tracemalloc.start()
    found = search_exact([scorer], 2_000, np.ones(1_000, bool), 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 2_000
    assert peak < 8 * 64_000
