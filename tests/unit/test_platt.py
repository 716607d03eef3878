"""The logistic curve against scikit-learn's own logistic regression."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from raytagger.calibration.platt import fit_platt


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_it_is_the_curve_of_greatest_likelihood(shift):
    rng = np.random.default_rng(0)
    score_P = rng.normal(size=20_000) + shift
    right_P = rng.random(20_000) < 1 / (1 + np.exp(-(2 * (score_P - shift) - 3)))
    found = fit_platt(score_P, right_P)
    expected = LogisticRegression(C=1e9, tol=1e-8).fit(score_P[:, None] - shift, right_P)
    assert found is not None
    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=0.02)
    assert found.offset + found.slope * shift == pytest.approx(expected.intercept_[0], rel=0.02)


def test_scores_far_out_do_not_mislead_it():
    rng = np.random.default_rng(1)
    score_P = np.concatenate([rng.normal(size=5000), np.full(50_000, -14.0)])
    right_P = rng.random(len(score_P)) < 1 / (1 + np.exp(-(2 * score_P - 1)))
    found = fit_platt(score_P, right_P)
    assert found is not None
    assert (found.slope, found.offset) == pytest.approx((2, -1), rel=0.1)


def test_scores_that_separate_give_finite_odds():
    found = fit_platt(np.array([0.0] * 50 + [1.0] * 50), np.array([False] * 50 + [True] * 50))
    assert found is not None
    assert 2 < found.slope < 50


@pytest.mark.parametrize("right", [0, 4, 97, 100])
def test_too_few_of_either_kind_give_no_curve(right):
    assert fit_platt(np.linspace(0, 1, 100), np.arange(100) >= 100 - right) is None


def test_scores_that_point_the_wrong_way_give_no_curve():
    assert fit_platt(np.linspace(0, 1, 100), np.arange(100) < 50) is None
