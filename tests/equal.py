"""The equality that the design promises: the same labels up to ties within 1e-4, scores to 1e-4.

A text may get other last bits beside other texts: padding, the shape of a matrix product, threads and the processor
decide the order of sums.
"""

import numpy as np
import pytest

from raytagger.schema import PAD

CLOSE = 1e-4


def ranking(scores, row=0):
    """One row of `Scores` as pairs of label and score, best first."""
    pairs = zip(scores.label_BK[row].tolist(), scores.score_BK[row].tolist(), strict=True)
    return [pair for pair in pairs if pair[0] != PAD]


def assert_same_ranking(found, expected):
    """Two rankings of one document, each as pairs of label and score, best first."""
    assert len(found) == len(expected)
    np.testing.assert_allclose([one[1] for one in found], [one[1] for one in expected], rtol=CLOSE, atol=CLOSE)
    for one, other in ((found, expected), (expected, found)):
        score_of = dict(other)
        for label, score in one:
            # A label that the other does not name must tie with the last that it names.
            assert score_of.get(label, other[-1][1]) == pytest.approx(score, rel=CLOSE, abs=CLOSE), label


def assert_same_scores(found, expected):
    """Two `Scores` of the same documents."""
    assert found.label_BK.shape == expected.label_BK.shape
    for row in range(len(found)):
        assert_same_ranking(ranking(found, row), ranking(expected, row))
