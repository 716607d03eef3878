"""Results of several trees as one, against a slow loop."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytagger.errors import SettingsError
from raytagger.schema import PAD, Scores
from raytagger.search.ensemble import COMBINATIONS, average
from raytagger.vectors import merge_disjoint


@st.composite
def results(draw):
    """One to three results of the same documents, each a ranking with some places empty."""
    documents, labels = draw(st.integers(0, 3)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return [ranking(rng, documents, labels, draw(st.integers(1, 4))) for _ in range(draw(st.integers(1, 3)))]


def ranking(rng, documents, labels, places):
    label_BK = np.full((documents, places), PAD, np.int32)
    score_BK = np.full((documents, places), -np.inf, np.float32)
    for row in range(documents):
        found = rng.permutation(labels)[: rng.integers(0, places + 1)]
        scores = np.sort(rng.choice([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0], len(found)))[::-1]
        label_BK[row, : len(found)], score_BK[row, : len(found)] = found, scores
    return Scores(label_BK, score_BK)


def values(found, row, how):
    """Label -> what one result says of it."""
    label_K = [int(label) for label in found.label_BK[row] if label != PAD]
    score_K = [float(score) for score in found.score_BK[row][: len(label_K)]]
    total = sum(map(math.exp, score_K))
    said = {
        "average": lambda place: score_K[place],
        "softmax_average": lambda place: math.exp(score_K[place]) / total,
        "sigmoid_average": lambda place: 1 / (1 + math.exp(-score_K[place])),
        "rank_average": lambda place: (100 - place) / 100,
    }[how]
    return {label: said(place) for place, label in enumerate(label_K)}


@pytest.mark.parametrize("how", COMBINATIONS)
@given(parts=results(), k=st.integers(1, 8))
def test_an_average_is_that_of_a_slow_loop(how, parts, k):
    found = average(parts, how, k)
    assert found.label_BK.shape == (len(parts[0]), k)
    for row in range(len(found)):
        said = [values(part, row, how) for part in parts]
        lacking = [min([0.0, *one.values()]) for one in said]  # what a result says of a label that it lacks
        pairs = list(zip(said, lacking, strict=True))
        mean = {label: sum(one.get(label, low) for one, low in pairs) / len(parts) for label in set().union(*said)}
        label_K = [label for label in found.label_BK[row].tolist() if label != PAD]
        assert len(label_K) == min(k, len(mean))
        best = sorted(mean.values(), reverse=True)[:k]
        assert found.score_BK[row, : len(label_K)].tolist() == pytest.approx(best, abs=1e-6)
        assert [mean[label] for label in label_K] == pytest.approx(best, abs=1e-6)
        assert (found.score_BK[row, len(label_K) :] == -np.inf).all()


def test_ties_go_to_the_smaller_label():
    one = Scores(np.array([[4, 1]], np.int32), np.array([[0.5, 0.5]], np.float32))
    other = Scores(np.array([[1, 2]], np.int32), np.array([[0.5, 0.5]], np.float32))
    assert average([one, other], "average", 3).label_BK.tolist() == [[1, 2, 4]]


def test_results_without_common_labels_are_merged_by_score():
    left = Scores(np.array([[5, 0, PAD]], np.int32), np.array([[0.9, 0.2, -np.inf]], np.float32))
    right = Scores(np.array([[3, 1]], np.int32), np.array([[0.9, -0.1]], np.float32))
    merged = merge_disjoint(left, right, 5)
    assert merged.label_BK.tolist() == [[3, 5, 0, 1, PAD]]
    assert merged.score_BK[0, :4].tolist() == pytest.approx([0.9, 0.9, 0.2, -0.1])


def test_an_unknown_way_is_refused():
    nothing = Scores(np.zeros((0, 1), np.int32), np.zeros((0, 1), np.float32))
    with pytest.raises(SettingsError, match=r"tree.combine; got 'median'; expected average"):
        average([nothing], "median", 1)
