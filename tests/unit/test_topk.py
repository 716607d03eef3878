"""`top_k` and `merge_top_k` against sorting."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raytagger.schema import PAD
from raytagger.vectors import merge_top_k, top_k
from raytagger.vectors.topk import FEW as KEPT_IN_ORDER
from raytagger.vectors.topk import nothing, offer

NEVER = float("-inf")
# Few values, so that most rows have ties; both zeros, which compare equal.
FEW = st.sampled_from([NEVER, -2.5, -0.0, 0.0, 1.0, 1e-30, 3.5])
ANY = st.floats(width=32, allow_nan=False).filter(lambda value: value != float("inf"))
SHAPES = st.tuples(st.integers(0, 4), st.integers(0, 40))


@st.composite
def score_blocks(draw):
    return draw(arrays(np.float32, draw(SHAPES), elements=draw(st.sampled_from([FEW, ANY]))))


def sorted_top_k(score_BL, k, first_label=0):
    labels, values = [], []
    for row in score_BL.tolist():
        candidates = [(value, label) for label, value in enumerate(row) if value != NEVER]
        best = sorted(candidates, key=lambda pair: (-pair[0], pair[1]))[:k]
        pads = [(NEVER, PAD - first_label)] * (k - len(best))
        labels.append([label + first_label for _, label in best + pads])
        values.append([value for value, _ in best + pads])
    return np.array(labels, np.int32).reshape(-1, k), np.array(values, np.float32).reshape(-1, k)


def assert_same(scores, expected):
    assert scores.label_BK.dtype == np.int32
    assert scores.score_BK.dtype == np.float32
    np.testing.assert_array_equal(scores.label_BK, expected[0])
    np.testing.assert_array_equal(scores.score_BK, expected[1])


@settings(max_examples=120, deadline=None)
@given(score_blocks(), st.integers(1, 50), st.integers(0, 1000))
def test_top_k_is_the_head_of_a_sort(score_BL, k, first_label):
    assert_same(top_k(score_BL, k, first_label), sorted_top_k(score_BL, k, first_label))


@settings(max_examples=60, deadline=None)
@given(score_blocks(), st.integers(1, 12), st.integers(0, 40), st.integers(0, 10**6))
def test_offered_blocks_equal_the_whole(score_BL, k, cut, seed):
    rows, columns = score_BL.shape
    allowed_L = np.random.default_rng(seed).random(columns) < 0.7
    best = nothing(rows, k)
    for start, stop in itertools.pairwise([0, min(cut, columns), columns]):
        offer(score_BL[:, start:stop], start, best, allowed_L[start:stop])
    assert_same(best, sorted_top_k(np.where(allowed_L, score_BL, NEVER).astype(np.float32), k))


def test_many_are_sorted_and_few_kept_in_order_alike():
    score_BL = np.random.default_rng(0).integers(0, 40, (3, 1000)).astype(np.float32)
    few, many = top_k(score_BL, KEPT_IN_ORDER), top_k(score_BL, KEPT_IN_ORDER + 1)
    assert many.label_BK[:, :-1].tolist() == few.label_BK.tolist()
    assert_same(many, sorted_top_k(score_BL, KEPT_IN_ORDER + 1))


@settings(max_examples=80, deadline=None)
@given(score_blocks(), st.integers(1, 12), st.lists(st.integers(0, 40), max_size=5))
def test_merging_blocks_of_labels_equals_the_whole(score_BL, k, cuts):
    rows, columns = score_BL.shape
    borders = [0, *sorted(min(cut, columns) for cut in cuts), columns]
    best = top_k(np.zeros((rows, 0), np.float32), k)
    for start, stop in itertools.pairwise(borders):
        best = merge_top_k(best, top_k(score_BL[:, start:stop], k, start), k)
    assert_same(best, sorted_top_k(score_BL, k))


@pytest.mark.parametrize("zeros", [(-0.0, 0.0), (0.0, -0.0)])
def test_zeros_of_either_sign_tie(zeros):
    assert top_k(np.array([zeros], np.float32), 1).label_BK.tolist() == [[0]]
    assert top_k(np.array([zeros], np.float32), 2).label_BK.tolist() == [[0, 1]]


def test_ties_across_the_cut_go_to_the_smaller_index():
    score_BL = np.zeros((3, 1000), np.float32)
    score_BL[:, 500] = 1
    score_BL[1, 3:10] = -1
    found = top_k(score_BL, 5)
    assert found.label_BK.tolist() == [[500, 0, 1, 2, 3], [500, 0, 1, 2, 10], [500, 0, 1, 2, 3]]


def test_the_scores_given_stay_as_they_were():
    score_BL = np.array([[3, 1, 2]], np.float32)
    top_k(score_BL, 2)
    assert score_BL.tolist() == [[3, 1, 2]]
