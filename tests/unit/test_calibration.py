"""Curves, offsets of labels and the gate: against known truths, slow optimisers and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from raytagger.calibration import Curve, bands, fit_curve, fit_gate, fit_hierarchy, fit_offsets, fit_platt
from raytagger.calibration.gate import PENALTY
from raytagger.calibration.offsets import VARIANCES
from raytagger.metrics import expected_calibration_error


def pairs_of_truth(seed, pairs, truth):
    """Scores in [0, 1] and whether each is right, with the probability that `truth` gives."""
    rng = np.random.default_rng(seed)
    score_P = rng.random(pairs)
    return score_P, rng.random(pairs) < truth(score_P)


# Curves

TRUTHS = {
    "a straight line in log odds": lambda score: expit(8 * score - 5),
    "a cube": lambda score: 0.9 * score**3,
    "a step": lambda score: np.where(score < 0.7, 0.02, 0.6),
}


@given(
    seed=st.integers(0, 10_000),
    pairs=st.integers(0, 1500),
    levels=st.sampled_from([1, 2, 7, 500]),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    slope=st.sampled_from([-3.0, 0.0, 3.0, 50.0]),
)
@settings(max_examples=60, deadline=None)
def test_a_curve_is_finite_and_keeps_the_order_of_scores(seed, pairs, levels, scale, slope):
    rng = np.random.default_rng(seed)
    level_P = rng.integers(levels, size=pairs)
    right_P = rng.random(pairs) < expit(slope * (level_P / levels - 0.5))
    curve = fit_curve(scale * level_P.astype(np.float64), right_P)
    inside = np.unique(scale * level_P) if pairs else np.array([0.0, 1.0])
    odds = curve.odds(np.concatenate([[inside[0] - 10 * scale], inside, [inside[-1] + 10 * scale]]))
    assert np.isfinite(odds).all()
    assert (np.diff(odds) >= 0).all()
    assert (np.diff(odds[1:-1]) > 0).all()
    assert (np.diff(curve.score_K) >= 0).all()


@pytest.mark.parametrize(
    ("right", "how"), [(0, "prior"), (19, "prior"), (20, "platt"), (299, "platt"), (300, "isotonic")]
)
def test_the_number_of_right_pairs_decides_how_a_curve_is_fitted(right, how):
    score_P = np.linspace(0, 1, 1000)
    right_P = np.zeros(1000, bool)
    right_P[np.random.default_rng(0).choice(np.arange(500, 1000), right, replace=False)] = True
    assert fit_curve(score_P, right_P).how == how


def test_scores_that_fall_as_they_are_right_give_the_base_rate():
    curve = fit_curve(np.linspace(0, 1, 200), np.arange(200) < 100)
    assert curve.how == "prior"
    np.testing.assert_allclose(curve.probability(np.array([0, 0.5, 1])), 0.5, atol=0.01)


def test_nothing_known_gives_a_curve_all_the_same():
    curve = fit_curve(np.zeros(0), np.zeros(0, bool))
    assert curve.how == "prior"
    np.testing.assert_allclose(curve.probability(np.array([0.0, 1.0])), 0.5, atol=0.01)


def test_no_score_has_the_least_odds():
    curve = fit_curve(*pairs_of_truth(0, 2000, lambda score: score))
    assert curve.odds(np.array([[-np.inf, 0.5]])).shape == (1, 2)
    assert curve.odds(np.array([-np.inf]))[0] == -20
    assert curve.odds(np.array([-1e9]))[0] >= -20


@pytest.mark.parametrize(
    "truth",
    [lambda score: score**3, lambda score: expit(6 * score - 4), lambda score: np.where(score < 0.6, 0.05, 0.8)],
    ids=["cubic", "logistic", "step"],
)
def test_an_isotonic_curve_recovers_probabilities(truth):
    curve = fit_curve(*pairs_of_truth(1, 20_000, truth))
    score_P, right_P = pairs_of_truth(2, 20_000, truth)
    assert curve.how == "isotonic"
    assert expected_calibration_error(curve.probability(score_P), right_P) < 0.02
    assert np.abs(curve.probability(score_P) - truth(score_P)).mean() < 0.02


def test_straight_curves_recover_probabilities_on_average():
    grid = np.linspace(0, 1, 11)
    found = []
    for seed in range(20):
        score_P, right_P = pairs_of_truth(seed, 650, lambda score: expit(4 * score - 3))
        curve = fit_curve(score_P, right_P)
        assert curve.how == "platt"
        found.append(curve.probability(grid))
    np.testing.assert_allclose(np.mean(found, axis=0), expit(4 * grid - 3), atol=0.03)


def test_isotonic_is_scikit_learns_smoothed():
    """In each step, the share of right pairs of scikit-learn's curve, with half a pair of either kind beside it."""
    rng = np.random.default_rng(0)
    size_S, right_S = [3000, 2000, 1000, 400], [0, 200, 450, 380]
    level_P = np.repeat(np.arange(4), size_S)
    score_P = level_P + np.concatenate([np.linspace(0, 0.5, size) for size in size_S])
    right_P = np.concatenate([np.arange(n) % (n // 20) < r // 20 for n, r in zip(size_S, right_S, strict=True)])
    right_P[level_P == 0] = False
    order_P = rng.permutation(len(score_P))
    steps = IsotonicRegression().fit(score_P, right_P)
    curve = fit_curve(score_P[order_P], right_P[order_P])
    for level, (size, right) in enumerate(zip(size_S, right_S, strict=True)):
        middle = level + np.array([0.2, 0.25, 0.3])
        assert curve.probability(middle) == pytest.approx(steps.predict(middle), abs=0.03)
        assert curve.probability(middle).mean() == pytest.approx((right + 0.5) / (size + 1), abs=0.03)


@pytest.mark.parametrize("name", TRUTHS)
def test_it_is_nearer_to_the_truth_than_steps(name):
    """Mean squared error, over several draws."""
    truth, asked = TRUTHS[name], np.linspace(0, 1, 2001)
    ours, steps = [], []
    for seed in range(5):
        score_P, right_P = pairs_of_truth(seed, 8000, truth)
        ours.append(fit_curve(score_P, right_P).probability(asked) - truth(asked))
        steps.append(IsotonicRegression(out_of_bounds="clip").fit(score_P, right_P).predict(asked) - truth(asked))
    allowed = 2.0 if name == "a step" else 0.9  # of a step the curve makes a slope 200 pairs wide
    assert np.mean(np.square(ours)) < allowed * np.mean(np.square(steps))


def test_a_level_part_is_as_sure_as_all_its_pairs_make_it():
    """Ten thousand wrong pairs: a probability of a twenty thousandth, not of what a part of them would give."""
    score_P = np.concatenate([np.linspace(0, 1, 10_000), np.linspace(2, 3, 400)])
    curve = fit_curve(score_P, score_P > 1.5)
    assert curve.how == "isotonic"
    assert curve.probability(0.5) == pytest.approx(0.5 / 10_001, rel=0.01)
    assert curve.probability([-1.0, 0.0, 0.5]) == pytest.approx(curve.probability(0.5), rel=0.01)
    assert curve.probability(2.5) == pytest.approx(400.5 / 401, rel=0.01)


def test_a_few_pairs_are_no_step_of_their_own():
    score_P = np.arange(3003.0)
    right_P = (np.arange(3003) % 2 == 0) & (score_P >= 2000)
    right_P[-3:] = True
    curve = fit_curve(score_P, right_P)
    assert curve.how == "isotonic"
    assert curve.probability(3003.0) < 0.56


def test_small_steps_do_not_break_the_rise():
    """Smoothing draws a small step further to the middle than the large one above it."""
    rng = np.random.default_rng(1)
    for seed in range(20):
        score_P, right_P = pairs_of_truth(seed, 4000, lambda score: 0.05 + 0.3 * score**4)
        curve = fit_curve(score_P, right_P)
        assert curve.how == "isotonic"
        assert (np.diff(curve.odds(np.sort(rng.random(500)))) > 0).all()


@st.composite
def cases(draw_from):
    size = draw_from(st.integers(0, 40))
    scale = draw_from(st.sampled_from([1, 1, 20, 60]))  # many pairs reach the isotonic and the logistic curve
    score_P = draw_from(
        some.arrays(
            np.float32,
            size,
            elements=st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 0.5, 1.0]),
        )
    )
    right_P = draw_from(some.arrays(np.bool_, size))
    weight_P = draw_from(st.none() | some.arrays(np.float64, size * scale, elements=st.floats(0.01, 100)))
    return np.tile(score_P, scale), np.tile(right_P, scale), weight_P


@given(cases(), some.arrays(np.float32, 20, elements=st.floats(width=32)))
@settings(max_examples=75, deadline=None)
def test_every_curve_rises_and_is_finite(case, asked):
    curve = fit_curve(*case)
    assert curve.how in ("isotonic", "platt", "prior")
    assert (np.diff(curve.score_K) > 0).all()
    assert (np.diff(curve.odds_K) >= 0).all()
    odds = curve.odds(asked.reshape(4, 5))
    assert odds.shape == (4, 5)
    assert odds.dtype == np.float64
    assert (np.abs(odds) <= 20).all()
    assert (odds.ravel()[np.isneginf(asked) | np.isnan(asked)] == -20).all()
    rising = curve.odds(np.sort(asked[~np.isnan(asked)]))
    assert (np.diff(rising) >= -1e-9).all()
    probability = curve.probability(asked)
    assert ((probability > 0) & (probability < 1)).all()


@pytest.mark.parametrize("how", ["prior", "platt", "isotonic"])
def test_no_two_scores_tie(how):
    score_P, right_P = pairs_of_truth(2, {"prior": 200, "platt": 500, "isotonic": 5000}[how], TRUTHS["a step"])
    right_P &= np.cumsum(right_P) < (20 if how == "prior" else 1e9)
    curve = fit_curve(score_P, right_P)
    assert curve.how == how
    assert (np.diff(curve.odds(np.unique(score_P))) > 0).all()
    beyond = curve.odds(np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0], np.float32))
    assert (np.diff(beyond) > 0).all()


def test_a_curve_hardly_rises_beyond_what_it_has_seen():
    score_P, right_P = pairs_of_truth(3, 5000, TRUTHS["a cube"])
    curve = fit_curve(score_P, right_P)
    assert curve.odds(3.0) == pytest.approx(curve.odds(1.0), abs=0.05)
    assert curve.odds(-2.0) == pytest.approx(curve.odds(0.0), abs=0.05)


def test_a_logistic_curve_goes_on_as_the_line_that_it_is():
    score_P, right_P = pairs_of_truth(4, 500, TRUTHS["a straight line in log odds"])
    line, curve = fit_platt(score_P, right_P), fit_curve(score_P, right_P)
    assert curve.how == "platt"
    asked = np.array([-0.5, 0.2, 0.9, 1.4])
    assert curve.odds(asked) == pytest.approx(line.slope * asked + line.offset)


def test_scores_far_out_have_an_order_too():
    curve = Curve(np.array([0.0, 1.0]), np.array([-1.0, 1.0]), "platt")
    odds = curve.odds(np.array([-np.inf, -1e6, -1e3, -20, -8, -5, 5, 8, 20, 1e3, 1e6, np.inf]))
    assert (np.diff(odds) > 0).all()
    assert odds[[0, -1]].tolist() == [-20, 20]
    assert odds[[4, 5, 6]].tolist() == pytest.approx([-15 - 5 * (1 - 1 / 1.4), -11, 9])


@pytest.mark.parametrize(
    ("score_P", "right_P", "rate"),
    [
        (np.zeros(0), np.zeros(0, bool), 0.5),
        (np.arange(100.0), np.arange(100) >= 81, 19.5 / 101),
        (np.arange(100.0), np.arange(100) < 50, 50.5 / 101),
        (np.arange(1000.0), np.arange(1000) < 500, 500.5 / 1001),
        (np.full(1000, 0.3), np.arange(1000) < 400, 400.5 / 1001),
        (np.arange(100.0), np.arange(100) > 9, 90.5 / 101),
        (np.arange(100.0), np.zeros(100, bool), 0.5 / 101),
        (np.arange(100.0), np.ones(100, bool), 100.5 / 101),
    ],
    ids=["nothing", "19 right", "falling", "falling, many", "one score", "10 wrong", "none right", "all right"],
)
def test_too_little_to_know_gives_the_base_rate(score_P, right_P, rate):
    curve = fit_curve(score_P, right_P)
    assert curve.how == "prior"
    assert curve.probability(score_P) == pytest.approx(np.full(len(score_P), rate), rel=0.002)
    assert curve.probability(0.3) == pytest.approx(rate, rel=0.002)


@pytest.mark.parametrize(("size", "how"), [(200, "platt"), (8000, "isotonic")])
def test_a_weight_of_a_curve_is_so_many_pairs(size, how):
    """A quarter of the wrong pairs, four times as heavy, and all pairs give about the same curve."""
    score_P, right_P = pairs_of_truth(5, size, TRUTHS["a cube"])
    few_P = right_P | (np.cumsum(~right_P) % 4 == 0)
    sampled = fit_curve(score_P[few_P], right_P[few_P], np.where(right_P, 1, 4)[few_P])
    whole, unweighted = fit_curve(score_P, right_P), fit_curve(score_P[few_P], right_P[few_P])
    assert sampled.how == whole.how == how
    asked = np.linspace(0.1, 0.9, 50)
    assert np.abs(sampled.probability(asked) - whole.probability(asked)).mean() < 0.03
    assert np.abs(unweighted.probability(asked) - whole.probability(asked)).mean() > 0.1


def test_weights_decide_where_the_steps_are():
    """Shares that fall from 0.6 to 0.4 by number rise from 0.23 to 0.4 by weight."""
    score_P = np.linspace(0, 2, 4000)
    low_P = score_P < 1
    right_P = np.arange(4000) % 5 < np.where(low_P, 3, 2)
    curve = fit_curve(score_P, right_P, np.where(low_P & right_P, 0.2, 1.0))
    assert curve.how == "isotonic"
    assert curve.probability([0.5, 1.5]) == pytest.approx([0.12 / 0.52, 0.4], abs=0.03)


def test_a_weighted_logistic_curve_is_scikit_learns():
    score_P, right_P = pairs_of_truth(6, 20_000, TRUTHS["a cube"])
    weight_P = np.where(score_P > 0.5, 3.0, 0.2)
    found = fit_platt(score_P, right_P, weight_P)
    expected = LogisticRegression(C=1e9, tol=1e-8).fit(score_P[:, None], right_P, sample_weight=weight_P)
    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=0.01)
    assert found.offset == pytest.approx(expected.intercept_[0], rel=0.01)


@pytest.mark.parametrize(
    ("score_P", "right_P", "weight_P", "message"),
    [
        ([0.1, 0.2], [True], None, r"\(2,\), \(1,\)"),
        ([0.1], [True], [1.0, 2.0], r"\(1,\) and \(2,\)"),
        ([[0.1]], [[True]], [[1.0]], "one .P,."),
        ([0.1, np.nan], [True, False], None, "not finite"),
        ([0.1, -np.inf], [True, False], None, "not finite"),
        ([0.1, 0.2], [True, False], [1.0, 0.0], "not above 0"),
        ([0.1, 0.2], [True, False], [1.0, np.nan], "not above 0"),
    ],
)
def test_impossible_pairs_are_refused(score_P, right_P, weight_P, message):
    with pytest.raises(ValueError, match=message):
        fit_curve(np.array(score_P), np.array(right_P), None if weight_P is None else np.array(weight_P))


# Offsets


def test_an_offset_may_be_far_from_none():
    """Where the curvature at the start is next to nothing."""
    found = fit_offsets(np.full(60, -9.0), np.ones(60, bool), np.zeros(60, int), 1)
    slope = 60 * expit(9 - found[0]) - found[0] / max(VARIANCES)
    assert found[0] > 8
    assert slope == pytest.approx(0, abs=1e-4)


def test_bands_of_training_documents():
    count_L = np.array([0, 1, 2, 3, 9, 10, 29, 30, 99, 100, 299, 300, 999, 1000, 2999])
    np.testing.assert_array_equal(bands(count_L), [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7])


def planted_offsets(seed, pairs_G, spread):
    rng = np.random.default_rng(seed)
    group_P = np.repeat(np.arange(len(pairs_G)), pairs_G)
    true_G = rng.normal(0, spread, len(pairs_G))
    odds_P = rng.normal(-1, 1.5, len(group_P))
    return odds_P, rng.random(len(group_P)) < expit(odds_P + true_G[group_P]), group_P, true_G


def test_offsets_recover_planted_ones():
    odds_P, right_P, group_P, true_G = planted_offsets(0, np.full(20, 3000), 1.0)
    chance_P = expit(odds_P + true_G[group_P])
    error_G = 1 / np.sqrt(np.bincount(group_P, chance_P * (1 - chance_P)))
    assert (error_G < 0.1).all()
    assert (np.abs(fit_offsets(odds_P, right_P, group_P, 20) - true_G) < 4 * error_G).all()


def test_offsets_of_groups_with_few_pairs_keep_near_none():
    pairs_G = np.repeat([2, 2000], 30)
    odds_P, right_P, group_P, true_G = planted_offsets(1, pairs_G, 0.8)
    offset_G = fit_offsets(odds_P, right_P, group_P, 60)
    few, many = np.abs(offset_G[:30]).mean() / 0.8, np.abs(offset_G[30:]).mean() / 0.8
    assert few < 0.6 * many
    np.testing.assert_allclose(offset_G[30:], true_G[30:], atol=0.3)


def test_no_differences_give_no_offsets():
    odds_P, right_P, group_P, _ = planted_offsets(2, np.full(40, 200), 0.0)
    np.testing.assert_allclose(fit_offsets(odds_P, right_P, group_P, 40), 0, atol=0.25)


def test_a_group_without_pairs_has_no_offset():
    offset_G = fit_offsets(np.zeros(50), np.ones(50, bool), np.zeros(50, int), 3)
    assert offset_G[0] > 0.5
    np.testing.assert_array_equal(offset_G[1:], 0)
    np.testing.assert_array_equal(fit_offsets(np.zeros(0), np.zeros(0, bool), np.zeros(0, int), 2), 0)


@pytest.mark.parametrize(("seed", "spread"), [(3, 0.0), (3, 0.3), (4, 0.8), (5, 2.0)])
def test_offsets_are_the_most_probable_ones_for_the_variance_of_greatest_likelihood(seed, spread):
    odds_P, right_P, group_P, _ = planted_offsets(seed, np.repeat([2, 20, 120], 12), spread)
    grid = np.linspace(-12, 12, 2401)

    def log_likelihood(offset_G):
        value_P = odds_P + offset_G[group_P]
        return np.bincount(group_P, right_P * value_P - np.logaddexp(0, value_P), 36)

    likelihood_GX = np.stack([log_likelihood(np.full(36, offset)) for offset in grid], axis=1)

    def evidence(variance):
        """The pairs' likelihood, summed over all offsets that a group may have."""
        if not variance:
            return log_likelihood(np.zeros(36)).sum()
        density_X = np.exp(-(grid**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance) * (grid[1] - grid[0])
        most_G = likelihood_GX.max(axis=1)
        return np.sum(most_G + np.log(np.exp(likelihood_GX - most_G[:, None]) @ density_X))

    variance = max(VARIANCES, key=evidence)
    found = fit_offsets(odds_P, right_P, group_P, 36)
    if not variance:
        np.testing.assert_array_equal(found, 0)
        return

    def loss(offset_G):
        return offset_G @ offset_G / (2 * variance) - log_likelihood(offset_G).sum()

    expected = minimize(loss, np.zeros(36), method="BFGS", options={"gtol": 1e-4}).x
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_label_without_pairs_has_the_offset_of_its_band():
    rng = np.random.default_rng(5)
    count_L = np.concatenate([np.full(20, 1), np.full(20, 500)])
    label_P = np.concatenate([rng.integers(0, 19, 8000), rng.integers(20, 40, 8000)])
    odds_P = rng.normal(-1, 1.5, 16_000)
    shift_L = np.where(count_L == 1, -0.8, 0.4)
    right_P = rng.random(16_000) < expit(odds_P + shift_L[label_P])
    offset_L = fit_hierarchy(odds_P, right_P, label_P, count_L)
    assert offset_L.shape == (40,)
    assert offset_L[19] == pytest.approx(-0.8, abs=0.15)
    np.testing.assert_allclose(offset_L, shift_L, atol=0.35)


@given(
    st.integers(0, 60).flatmap(
        lambda n: st.tuples(
            some.arrays(np.float64, n, elements=st.floats(-20, 20)),
            some.arrays(np.bool_, n),
            some.arrays(np.int64, n, elements=st.integers(0, 4)),
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_offsets_are_finite_and_where_the_slope_is_none(pairs):
    odds_P, right_P, group_P = pairs
    offset_G = fit_offsets(odds_P, right_P, group_P, 5)
    assert offset_G.shape == (5,)
    assert np.isfinite(offset_G).all()
    assert (offset_G[np.bincount(group_P, minlength=5) == 0] == 0).all()
    if offset_G.any():
        slope_G = np.bincount(group_P, right_P - expit(odds_P + offset_G[group_P]), 5)
        variance = np.array(VARIANCES[1:])[:, None]
        assert np.abs(slope_G - offset_G / variance).max(axis=1).min() < 1e-4


@pytest.mark.parametrize(
    ("odds_P", "right_P", "group_P", "message"),
    [
        ([0.0, 1.0], [True], [0, 0], r"\(2,\), \(1,\), \(2,\)"),
        ([[0.0]], [[True]], [[0]], "one .P,."),
        ([0.0, np.inf], [True, False], [0, 0], "not finite"),
        ([0.0, np.nan], [True, False], [0, 0], "not finite"),
        ([0.0, 1.0], [True, False], [0, 3], "0 to 3; expected 0 to 2"),
        ([0.0, 1.0], [True, False], [-1, 0], "-1 to 0; expected 0 to 2"),
    ],
)
def test_impossible_groups_are_refused(odds_P, right_P, group_P, message):
    columns = np.array(odds_P), np.array(right_P), np.array(group_P)
    with pytest.raises(ValueError, match=message):
        fit_offsets(*columns, 3)
    with pytest.raises(ValueError, match=message):
        fit_hierarchy(*columns, np.ones(3, np.int64))


# The gate


def planted_facts(seed, pairs=400):
    rng = np.random.default_rng(seed)
    fact_PF = rng.normal(size=(pairs, 3)) * [1, 20, 0.05] + [0, 100, -3]
    odds_P = fact_PF @ [0.8, -0.05, 10] + 34
    return fact_PF, rng.random(pairs) < expit(odds_P)


def test_the_gate_is_penalised_logistic_regression_of_standardised_facts():
    fact_PF, right_P = planted_facts(0)
    line = fit_gate(fact_PF, right_P)
    x_PF = (fact_PF - fact_PF.mean(axis=0)) / fact_PF.std(axis=0)
    # Platt's targets as weights: each pair is right with its target and wrong with the rest.
    right, wrong = right_P.sum(), (~right_P).sum()
    target_P = np.where(right_P, (right + 1) / (right + 2), 1 / (wrong + 2))
    model = LogisticRegression(C=1 / PENALTY, tol=1e-9, max_iter=2000).fit(
        np.vstack([x_PF, x_PF]),
        np.repeat([1, 0], len(right_P)),
        sample_weight=np.concatenate([target_P, 1 - target_P]),
    )
    np.testing.assert_allclose(
        fact_PF @ line.weight_F + line.offset, x_PF @ model.coef_[0] + model.intercept_[0], atol=5e-3
    )


def test_a_weight_stands_for_so_many_pairs():
    fact_PF, right_P = planted_facts(1)
    weight_P = np.random.default_rng(1).integers(1, 5, len(right_P))
    weighted = fit_gate(fact_PF, right_P, weight_P)
    repeated = fit_gate(np.repeat(fact_PF, weight_P, axis=0), np.repeat(right_P, weight_P))
    plain = fit_gate(fact_PF, right_P)
    odds = [fact_PF @ line.weight_F + line.offset for line in (weighted, repeated, plain)]
    np.testing.assert_allclose(odds[0], odds[1], atol=5e-3)
    assert np.abs(odds[0] - odds[2]).max() > 0.05


def test_a_fact_that_never_changes_has_no_weight():
    fact_PF, right_P = planted_facts(2)
    with_constant = np.insert(fact_PF, 1, 7.5, axis=1)
    line, without = fit_gate(with_constant, right_P), fit_gate(fact_PF, right_P)
    assert line.weight_F[1] == 0
    np.testing.assert_allclose(np.delete(line.weight_F, 1), without.weight_F, rtol=1e-2)


@pytest.mark.parametrize("right", [False, True])
def test_pairs_that_separate_or_are_all_alike_give_finite_odds(right):
    fact_PF = np.linspace(-1, 1, 60)[:, None]
    separable = fit_gate(fact_PF, fact_PF[:, 0] > 0)
    alike = fit_gate(fact_PF, np.full(60, right))
    assert 1 < separable.weight_F[0] < 50
    assert np.isfinite(alike.weight_F).all()
    assert (alike.offset > 2) if right else (alike.offset < -2)
