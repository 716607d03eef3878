"""Intervals by resampling groups: against a slow resampler, in exact cases, and what grouping does."""

import math

import numpy as np
import pytest

from raytagger.metrics import Interval, Ratio, bootstrap, interval, paired_difference

NAN = float("nan")


def make_documents(seed, n_groups=25):
    """Values that depend on their group (one to six documents), some undefined; the groups; the generator."""
    rng = np.random.default_rng(seed)
    group_B = np.repeat(np.arange(n_groups), rng.integers(1, 7, n_groups))
    value_B = rng.normal(size=n_groups)[group_B] + 0.3 * rng.normal(size=len(group_B))
    value_B[rng.random(len(group_B)) < 0.1] = NAN
    return value_B, np.array([f"package-{group}" for group in group_B]), rng


def resample_slowly(statistic, group_B, seed, n_resamples=1500):
    """The 95 % interval of a function of document indices, by drawing groups and joining their documents."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(group_B == name) for name in sorted(set(group_B))]
    drawn = [
        statistic(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))
        for _ in range(n_resamples)
    ]
    return np.quantile(drawn, [0.025, 0.975])


def assert_close(actual, value, bounds):
    """Equal value; bounds within a tenth of the interval's width, about three standard errors of a bound."""
    assert actual.value == pytest.approx(value)
    np.testing.assert_allclose([actual.low, actual.high], bounds, atol=0.1 * (bounds[1] - bounds[0]))


def test_interval_of_a_mean_equals_slow_resampling():
    value_B, group_B, _ = make_documents(1)
    expected = resample_slowly(lambda rows: np.nanmean(value_B[rows]), group_B, seed=2)
    actual = interval(value_B, group_B, seed=3, n_resamples=4000)
    assert_close(actual, np.nanmean(value_B), expected)


def test_interval_of_a_ratio_equals_slow_resampling():
    _, group_B, rng = make_documents(4)
    best_B = rng.uniform(0.1, 5.0, len(group_B))
    gain_B = best_B * rng.random(len(group_B))
    expected = resample_slowly(lambda rows: gain_B[rows].sum() / best_B[rows].sum(), group_B, seed=5)
    actual = interval(Ratio(gain_B, best_B), group_B, seed=6, n_resamples=4000)
    assert_close(actual, gain_B.sum() / best_B.sum(), expected)


def test_paired_difference_equals_slow_resampling():
    value_B, group_B, rng = make_documents(7)
    other_B = value_B - 0.2 + 0.5 * rng.normal(size=len(value_B))
    expected = resample_slowly(lambda rows: np.nanmean((value_B - other_B)[rows]), group_B, seed=8)
    actual = paired_difference(value_B, other_B, group_B, seed=9, n_resamples=4000)
    assert_close(actual, np.nanmean(value_B - other_B), expected)


def test_paired_difference_of_ratios_equals_slow_resampling():
    _, group_B, rng = make_documents(10)
    a, b = (Ratio(rng.random(len(group_B)), rng.uniform(1, 3, len(group_B))) for _ in range(2))

    def difference(rows):
        return a[0][rows].sum() / a[1][rows].sum() - b[0][rows].sum() / b[1][rows].sum()

    expected = resample_slowly(difference, group_B, seed=11)
    actual = paired_difference(a, b, group_B, seed=12, n_resamples=4000)
    assert_close(actual, a.total() - b.total(), expected)


def test_one_group_has_no_spread():
    value_B = np.array([0.1, 0.7, NAN, 0.4])
    result = interval(value_B, ["a"] * 4, seed=0)
    assert result.value == pytest.approx(0.4)
    assert result.low == result.high == result.value


def test_constant_values_have_no_spread():
    result = interval(np.full(9, 0.3), [0, 0, 1, 2, 2, 2, 3, 4, 4], seed=0)
    assert [result.value, result.low, result.high] == pytest.approx([0.3] * 3, rel=1e-12)


def test_a_method_does_not_differ_from_itself():
    value_B, group_B, rng = make_documents(13)
    ratio = Ratio(rng.random(len(value_B)), np.ones(len(value_B)))
    assert paired_difference(value_B, value_B.copy(), group_B, seed=0) == Interval(0.0, 0.0, 0.0)
    assert paired_difference(ratio, ratio, group_B, seed=0) == Interval(0.0, 0.0, 0.0)


def test_pairing_removes_the_spread_that_documents_share():
    value_B, group_B, _ = make_documents(14)
    difference = paired_difference(value_B + 0.01, value_B, group_B, seed=0)
    alone = interval(value_B, group_B, seed=0)
    assert difference.low == pytest.approx(0.01)
    assert difference.high == pytest.approx(0.01)
    assert alone.high - alone.low > 0.1


def test_two_values_resample_to_the_binomial_quantiles():
    """Of two documents a mean is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4: the whole range is the interval."""
    assert interval(np.array([0.0, 1.0]), seed=0) == Interval(0.5, 0.0, 1.0)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    value_B, group_B, _ = make_documents(15)
    first = interval(value_B, group_B, seed=1, n_resamples=200)
    assert first == interval(value_B, group_B, seed=1, n_resamples=200)
    assert first != interval(value_B, group_B, seed=2, n_resamples=200)
    assert first.low < first.value < first.high


def test_chunks_of_resamples_give_as_many_as_asked_for(monkeypatch):
    part_GM = np.random.default_rng(0).random((10, 2))
    whole = bootstrap._resample(part_GM, 0, 107)
    monkeypatch.setattr(bootstrap, "_CHUNK_DRAWS", 250)
    chunked = bootstrap._resample(part_GM, 0, 107)
    assert whole.shape == chunked.shape == (107, 2)
    assert len(np.unique(chunked[:, 0])) == 107
    np.testing.assert_allclose(chunked.mean(axis=0), part_GM.sum(axis=0), rtol=0.1)


def test_duplicates_in_a_group_widen_the_interval():
    """Nine copies of every document say nothing new: only resampling by group knows that."""
    value_B = np.random.default_rng(16).normal(size=60)
    copied_B, group_B = np.repeat(value_B, 9), np.repeat(np.arange(60), 9)
    once, by_group, by_document = (
        interval(value_B, seed=0, n_resamples=2000),
        interval(copied_B, group_B, seed=0, n_resamples=2000),
        interval(copied_B, seed=0, n_resamples=2000),
    )
    assert by_group.high - by_group.low == pytest.approx(once.high - once.low, rel=1e-9)
    assert by_group.high - by_group.low == pytest.approx(3 * (by_document.high - by_document.low), rel=0.15)


def test_undefined_documents_change_nothing():
    value_B, group_B, _ = make_documents(17)
    defined_B = ~np.isnan(value_B)
    expected = interval(value_B[defined_B], group_B[defined_B], seed=0)
    assert interval(value_B, group_B, seed=0) == expected
    more_B, more_groups_B = np.append(value_B, [NAN, NAN]), np.append(group_B, ["zzz", "package-0"])
    assert interval(more_B, more_groups_B, seed=0) == expected
    nothing = Ratio(np.append(np.nan_to_num(value_B), 0.0), np.append(defined_B.astype(float), 0.0))
    assert interval(nothing, np.append(group_B, "zzz"), seed=0) == expected


@pytest.mark.parametrize("values", [np.array([]), np.array([NAN, NAN])])
def test_nothing_to_average_is_undefined_without_a_warning(values, recwarn):
    result = interval(values, seed=0)
    assert all(math.isnan(part) for part in (result.value, result.low, result.high))
    assert not recwarn.list


def test_what_does_not_fit_together_is_refused():
    value_B = np.array([0.1, 0.2])
    with pytest.raises(ValueError, match="one a document"):
        interval(value_B, ["a"], seed=0)
    with pytest.raises(ValueError, match="same documents"):
        paired_difference(value_B, value_B[:1], seed=0)
    with pytest.raises(TypeError, match="two ratios"):
        paired_difference(value_B, Ratio(value_B, value_B), seed=0)
