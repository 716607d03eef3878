"""Thresholds against trying out every one of them, and what offsets of labels gain on documents not seen."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.special import expit, logit

from raytagger.calibration import Evidence, Thresholds, check_thresholds, fit_thresholds
from raytagger.calibration.threshold_fit import _gain, _Problem
from raytagger.errors import BundleError, SettingsError
from raytagger.metrics import macro_f1, micro_f1, propensities, tag_matrix
from raytagger.schema import PAD, Scores
from raytagger.settings import ThresholdSettings

NONE = float("-inf")


def rows_of(*rows):
    """Scores of rows of (label, score) pairs, filled up with PAD."""
    width = max(map(len, rows))
    full = [[*row, *[(PAD, NONE)] * (width - len(row))] for row in rows]
    return Scores(
        np.array([[label for label, _ in row] for row in full], np.int32).reshape(len(rows), width),
        np.array([[score for _, score in row] for row in full], np.float32).reshape(len(rows), width),
    )


def pairs_of(scores):
    return [
        [
            (int(label), round(float(score), 4))
            for label, score in zip(labels, row, strict=True)
            if label != PAD or score != NONE
        ]
        for labels, row in zip(scores.label_BK, scores.score_BK, strict=True)
    ]


def sorted_scores(label_BK, score_BK):
    order_BK = np.lexsort((label_BK, -score_BK), axis=1)
    return Scores(
        np.take_along_axis(label_BK, order_BK, axis=1).astype(np.int32),
        np.take_along_axis(score_BK, order_BK, axis=1).astype(np.float32),
    )


def drawn(seed, documents=40, labels=9, width=5, levels=12):
    """Rankings with ties and places without a label, and gold that also has labels outside of them."""
    rng = np.random.default_rng(seed)
    label_BK = np.array([rng.permutation(labels)[:width] for _ in range(documents)])
    score_BK = rng.integers(1, levels, (documents, width)) / levels
    absent_BK = rng.random((documents, width)) < 0.1
    label_BK[absent_BK], score_BK[absent_BK] = PAD, NONE
    scores = sorted_scores(label_BK, score_BK)
    gold = rng.random((documents, labels)) < 0.1
    for row in range(documents):
        found_K = scores.label_BK[row]
        gold[row, found_K[(found_K > PAD) & (rng.random(width) < scores.score_BK[row])]] = True
    gold[:, -2:] = False  # labels that are never right, which macro-F1 leaves out until they are tags
    return scores, csr_matrix(gold)


def evidence_of(gold, group_B=None, seed=0):
    documents, labels = gold.shape
    group_B = np.arange(documents) if group_B is None else group_B
    return Evidence(group_B, 1 + np.arange(labels) ** 2, 500, seed)


def fit(scores, gold, k=5, group_B=None, **chosen):
    asked = ThresholdSettings(**chosen)
    check_thresholds(asked, k)
    return fit_thresholds(scores, gold, asked, k, evidence_of(gold, group_B))


def every_value(scores, gold, measure, limits, k):
    """The measure at every threshold that makes a difference, from the highest."""
    exact = np.unique(scores.score_BK[scores.label_BK > PAD])[::-1]
    values = [2.0, *exact]
    rules = [Thresholds(float(value), None, *limits) for value in values]
    return np.array([measure(tag_matrix(rule.keep(scores, k), gold.shape[1]), gold) for rule in rules]), values


def precision(tags, gold):
    return tags.multiply(gold).nnz / tags.nnz if tags.nnz else 0.0


def at(found, scores, gold, measure, k):
    return measure(tag_matrix(found.thresholds.keep(scores, k), gold.shape[1]), gold)


@pytest.mark.parametrize(("mode", "measure"), [("micro_F1", micro_f1), ("macro_F1", macro_f1)])
@given(
    seed=st.integers(0, 10_000), least=st.integers(0, 2), most=st.integers(2, 4), abstain=st.sampled_from([0, 0.5])
)
@example(seed=1, least=0, most=4, abstain=0)
@settings(max_examples=40, deadline=None)
def test_the_threshold_is_the_best_of_all(mode, measure, seed, least, most, abstain):
    scores, gold = drawn(seed)
    found = fit(scores, gold, 4, mode=mode, least=least, most=most, abstain=abstain, per_label="never")
    if found.report["why"] is None:
        values, _ = every_value(scores, gold, measure, (least, most, abstain), 4)
        assert at(found, scores, gold, measure, 4) == pytest.approx(values.max(), abs=1e-12)


@given(seed=st.integers(0, 10_000), least=st.integers(0, 1), target=st.sampled_from([0.3, 0.5, 0.7, 0.9, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_target_precision_is_reached_with_as_many_tags_as_can_be(seed, least, target):
    scores, gold = drawn(seed)
    found = fit(scores, gold, mode="precision", precision=target, least=least)
    values, thresholds = every_value(scores, gold, precision, (least, 0, 0), 5)
    reached = at(found, scores, gold, precision, 5)
    if values.max() < target:
        assert "out of reach" in found.report["why"]
        assert reached == pytest.approx(values.max())
    else:
        assert found.report["why"] is None
        assert reached >= target
        lowest = Thresholds(float(thresholds[np.flatnonzero(values >= target)[-1]]), None, least)
        np.testing.assert_array_equal(found.thresholds.keep(scores, 5).label_BK, lowest.keep(scores, 5).label_BK)


@pytest.mark.parametrize("mode", ["micro_F1", "macro_F1"])
def test_the_threshold_is_the_best_of_those_of_an_ordinary_size(mode):
    scores, gold = drawn(3, documents=400, labels=30, levels=1000)
    found = fit(scores, gold, mode=mode, per_label="never")
    measure = {"micro_F1": micro_f1, "macro_F1": macro_f1}[mode]
    values, _ = every_value(scores, gold, measure, (0, 0, 0), 5)
    assert at(found, scores, gold, measure, 5) == pytest.approx(values.max(), abs=1e-12)
    assert found.report["why"] is None


def test_macro_f1_counts_a_label_without_gold_once_it_is_a_tag():
    rows = [[(0, 0.9)]] * 30 + [[(0, 0.3)]] * 9 + [[(0, 0.3), (1, 0.3)]]
    gold = csr_matrix(np.tile([True, False], (40, 1)))
    found = fit(rows_of(*rows), gold, 2, mode="macro_F1", per_label="never")
    assert found.thresholds.value == pytest.approx(0.6)  # all of label 0 and one of label 1 would be (1 + 0) / 2


def test_a_threshold_is_midway_between_two_scores():
    rows = [[(0, 0.75), (1, 0.25)]] * 30
    gold = csr_matrix(np.tile([True, False], (30, 1)))
    assert fit(rows_of(*rows), gold, 2).thresholds.value == 0.5


def test_propensity_weighs_rare_labels():
    # At 0.2 a rare label is right in 20 rows, and a frequent one wrong in 60.
    rows = [[(5, 0.9), (0, 0.2)]] * 20 + [[(5, 0.9), (8, 0.2)]] * 60 + [[(5, 0.9)]] * 20
    gold = np.zeros((100, 9), bool)
    gold[:, 5], gold[:20, 0] = True, True
    scores, gold = rows_of(*rows), csr_matrix(gold)
    plain, weighted = (fit(scores, gold, 2, propensity=which, per_label="never") for which in (False, True))
    assert plain.thresholds.value == pytest.approx(0.55)
    assert weighted.thresholds.value == pytest.approx(0.1)
    assert weighted.report["micro_F1"] == pytest.approx(240 / 300)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_threshold_with_propensities_is_the_best_of_all(seed):
    scores, gold = drawn(seed, documents=100)
    weight_L = 1 / propensities(evidence_of(gold).count_L, 500)

    def weighted_f1(tags, gold):
        correct, kept, right = (float((part @ weight_L).sum()) for part in (tags.multiply(gold), tags, gold))
        return 2 * correct / (kept + right)

    found = fit(scores, gold, propensity=True, per_label="never")
    values, _ = every_value(scores, gold, weighted_f1, (0, 0, 0), 5)
    assert found.report["why"] is None
    assert at(found, scores, gold, weighted_f1, 5) == pytest.approx(values.max(), abs=1e-12)


def test_tags_are_kept_by_limits_and_offsets():
    scores = rows_of(
        [(3, 0.9), (1, 0.6), (0, 0.5), (2, 0.2)],
        [(0, 0.4), (2, 0.3)],
        [(1, 0.05)],
        [],
    )
    assert pairs_of(Thresholds(0.5).keep(scores, 4)) == [[(3, 0.9), (1, 0.6), (0, 0.5)], [], [], []]
    assert pairs_of(Thresholds(0.5).keep(scores, 2)) == [[(3, 0.9), (1, 0.6)], [], [], []]
    assert pairs_of(Thresholds(0.5, most=1).keep(scores, 4)) == [[(3, 0.9)], [], [], []]
    assert pairs_of(Thresholds(0.5, least=1).keep(scores, 4))[1:] == [[(0, 0.4)], [(1, 0.05)], []]
    assert pairs_of(Thresholds(0.5, least=1, abstain=0.1).keep(scores, 4))[1:] == [[(0, 0.4)], [], []]
    assert pairs_of(Thresholds(None, most=3).keep(scores, 4)) == pairs_of(scores.top(3))
    assert pairs_of(Thresholds(0.5).keep(scores, 0)) == [[], [], [], []]
    offset_L = np.array([-0.2, 0.2, 0, 0], np.float32)
    assert pairs_of(Thresholds(0.5, offset_L).keep(scores, 4)) == [[(3, 0.9), (0, 0.5)], [(0, 0.4)], [], []]
    # Labels that were added later have no offset; nor has the last label's any effect on them.
    assert pairs_of(Thresholds(0.5, offset_L[:2]).keep(scores, 4)) == [[(3, 0.9), (0, 0.5)], [(0, 0.4)], [], []]
    kept = Thresholds(0.7).keep(scores, 4)
    assert (kept.label_BK.dtype, kept.score_BK.dtype, kept.label_BK.shape) == (np.int32, np.float32, (4, 4))
    empty = Scores(np.zeros((2, 0), np.int32), np.zeros((2, 0), np.float32))
    assert Thresholds(0.5, abstain=0.1).keep(empty, 3).label_BK.shape == (2, 0)


def test_a_score_as_great_as_the_threshold_is_kept():
    scores = rows_of([(0, 0.7)])
    assert pairs_of(Thresholds(0.7, abstain=0.7).keep(scores, 1)) == [[(0, 0.7)]]


@given(seed=st.integers(0, 10_000), value=st.floats(0, 1), least=st.integers(0, 3), most=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_tags_are_a_part_of_the_ranking_in_its_order(seed, value, least, most):
    scores, _ = drawn(seed, documents=8)
    offset_L = np.random.default_rng(seed).normal(0, 0.3, 5).astype(np.float32)
    kept = Thresholds(value, offset_L, least, most).keep(scores, 4)
    for row, (found, tags) in enumerate(zip(pairs_of(scores), pairs_of(kept), strict=True)):
        limit = min(4, most or 4)
        expected = [
            pair
            for place, pair in enumerate(found[:limit])
            if place < least
            or scores.score_BK[row, place] >= np.float32(value) + (offset_L[pair[0]] if pair[0] < 5 else 0)
        ]
        assert tags == expected


def scaled_labels(seed, spread, documents=600, labels=12, width=6):
    """Probabilities that are too high or too low for each label by a number of its own, falling with its index."""
    rng = np.random.default_rng(seed)
    shift_L = spread * np.linspace(1, -1, labels)
    label_BK = np.array([rng.permutation(labels)[:width] for _ in range(documents)])
    odds_BK = rng.normal(-0.5, 2, (documents, width))
    right_BK = rng.random((documents, width)) < expit(odds_BK)
    gold = np.zeros((documents, labels), bool)
    np.put_along_axis(gold, label_BK, right_BK, axis=1)
    return sorted_scores(label_BK, expit(odds_BK + shift_L[label_BK])), csr_matrix(gold)


@pytest.mark.parametrize(("mode", "measure"), [("micro_F1", micro_f1), ("macro_F1", macro_f1)])
def test_offsets_help_where_labels_are_on_different_scales(mode, measure):
    scores, gold = scaled_labels(0, 2.5)
    found = fit(scores, gold, 6, mode=mode)
    told = found.report["per_label"]
    assert told["kept"]
    assert 0.01 < told["low"] < told["gain"] < told["high"]
    fresh, fresh_gold = scaled_labels(1, 2.5)
    tags = tag_matrix(Thresholds(found.thresholds.value).keep(fresh, 6), 12)
    assert at(found, fresh, fresh_gold, measure, 6) - measure(tags, fresh_gold) > 0.01


def test_labels_have_the_thresholds_that_calibrated_ones_would_have():
    scores, gold = scaled_labels(0, 1.5, documents=6000)
    found = fit(scores, gold, 6)
    assert found.thresholds.offset_L is not None
    # A true probability is worth keeping from half of the F1 that is reached.
    best_L = expit(logit(found.report["micro_F1"] / 2) + 1.5 * np.linspace(1, -1, 12))
    np.testing.assert_allclose(found.thresholds.value + found.thresholds.offset_L, best_L, atol=0.08)


@pytest.mark.parametrize("mode", ["micro_F1", "macro_F1"])
def test_offsets_are_refused_where_all_labels_are_on_one_scale(mode):
    kept = [fit(*scaled_labels(seed, 0.0, documents=200), 6, mode=mode) for seed in range(8)]
    assert sum(found.report["per_label"]["kept"] for found in kept) <= 1
    refused = next(found for found in kept if not found.report["per_label"]["kept"])
    assert refused.thresholds.offset_L is None
    assert refused.report["per_label"]["low"] <= 0
    assert "not above 0" in refused.report["per_label"]["why"]


def test_offsets_of_too_few_groups_or_unwanted_ones_are_not_tried():
    scores, gold = scaled_labels(0, 2.5)
    for chosen in ({"per_label": "never"}, {"group_B": np.zeros(600, int)}, {"mode": "fixed"}):
        found = fit(scores, gold, 6, **chosen)
        assert found.thresholds.offset_L is None
        assert found.report["per_label"]["gain"] is None
        assert found.report["per_label"]["why"]
    few = fit(scores, gold, 6, group_B=np.array(["a", "b", "c"])[np.arange(600) % 3])
    assert few.report["per_label"]["kept"]


@pytest.mark.parametrize(("mode", "measure"), [("micro_F1", micro_f1), ("macro_F1", macro_f1)])
def test_the_interval_of_a_gain_is_that_of_slow_resampling(mode, measure):
    scores, gold = scaled_labels(4, 0.7, documents=120)
    group_B = np.arange(120) // 3
    new, old = (tag_matrix(Thresholds(value).keep(scores, 6), 12) for value in (0.3, 0.6))
    problem = _Problem(scores, gold, ThresholdSettings(mode=mode), Thresholds(None), np.ones(12))
    found = _gain(problem, (new, old), group_B, 0)
    rng, drawn = np.random.default_rng(1), []
    for _ in range(700):
        chosen = np.concatenate([np.flatnonzero(group_B == group) for group in rng.integers(40, size=40)])
        drawn.append(measure(new[chosen], gold[chosen]) - measure(old[chosen], gold[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.value == pytest.approx(measure(new, gold) - measure(old, gold))
    np.testing.assert_allclose([found.low, found.high], [low, high], atol=0.1 * (high - low))


def test_the_same_seed_gives_the_same_thresholds():
    scores, gold = scaled_labels(0, 2.5, documents=200)
    one, two = (fit(scores, gold, 6) for _ in range(2))
    assert one.report == two.report
    np.testing.assert_array_equal(one.thresholds.offset_L, two.thresholds.offset_L)


def test_fewer_than_twenty_right_labels_leave_the_threshold_as_set():
    rows = [[(0, 0.9), (1, 0.2)]] * 19
    gold = csr_matrix(np.tile([True, False], (19, 1)))
    for mode in ("micro_F1", "macro_F1", "precision"):
        found = fit(rows_of(*rows), gold, 2, mode=mode, value=0.35)
        assert found.thresholds == Thresholds(0.35)
        assert "19 right labels" in found.report["why"]
        assert found.report["positives"] == 19
    more = csr_matrix(np.tile([True, False], (20, 1)))
    assert fit(rows_of(*rows, rows[0]), more, 2, value=0.35).report["why"] is None


def test_probabilities_that_are_all_equal_are_kept_all_or_none():
    scores = rows_of(*[[(0, 0.4), (1, 0.4)]] * 40)
    gold = csr_matrix(np.tile([True, False], (40, 1)))
    found = fit(scores, gold, 2)
    assert found.thresholds.value == pytest.approx(0.2)
    assert found.report["recall"] == 1
    assert found.report["precision"] == 0.5
    out_of_reach = fit(scores, gold, 2, mode="precision", precision=0.8)
    assert "out of reach; the greatest is 0.500" in out_of_reach.report["why"]
    assert out_of_reach.report["recall"] == 1


@pytest.mark.parametrize("mode", ["micro_F1", "macro_F1", "precision", "count", "fixed"])
def test_nothing_found_is_a_defined_result(mode):
    empty = rows_of(*[[]] * 30)
    nothing = Scores(np.full((30, 3), PAD, np.int32), np.full((30, 3), NONE, np.float32))
    for scores in (empty, nothing):
        for gold in (csr_matrix(np.ones((30, 4), bool)), csr_matrix((30, 4), dtype=bool)):
            report = fit(scores, gold, 3, mode=mode).report
            assert report["precision"] is None
            assert report["positives"] == 0
            assert (report["micro_F1"], report["recall"]) == ((0, 0) if gold.nnz else (None, None))
    none = Scores(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.float32))
    assert fit(none, csr_matrix((0, 4), dtype=bool), 3, mode=mode).report["documents"] == 0


def test_no_label_above_the_threshold_gives_no_tags():
    scores, gold = drawn(0)
    found = fit(scores, gold, mode="fixed", value=1.0)
    assert (found.thresholds.keep(scores, 5).label_BK == PAD).all()
    assert (found.report["precision"], found.report["recall"]) == (None, 0)


def test_modes_without_a_choice_say_what_they_give():
    scores, gold = drawn(5)
    count, fixed = fit(scores, gold, mode="count", most=2), fit(scores, gold, mode="fixed", value=0.6)
    assert (count.thresholds, fixed.thresholds) == (Thresholds(None, most=2), Thresholds(0.6))
    tags = tag_matrix(scores.top(2), gold.shape[1])
    assert count.report["precision"] == pytest.approx(precision(tags, gold))
    assert count.report["recall"] == pytest.approx(tags.multiply(gold).nnz / gold.nnz)
    assert count.report["micro_F1"] == pytest.approx(micro_f1(tags, gold))
    assert count.report["positives"] == tags.multiply(gold).nnz
    assert set(fixed.report) == {
        *("mode", "value", "precision", "recall", "micro_F1", "per_label", "documents", "positives", "why")
    }


def test_rows_that_have_as_many_tags_as_they_must_leave_nothing_to_choose():
    scores, gold = drawn(1)
    found = fit(scores, gold, 2, least=2, value=0.4)
    assert found.thresholds.value == 0.4
    assert "2 tags at least" in found.report["why"]


def test_thresholds_survive_json():
    scores, gold = scaled_labels(0, 2.5)
    found = fit(scores, gold, 6, least=1, most=4, abstain=0.05)
    assert found.thresholds.offset_L is not None
    json.dumps(found.report, allow_nan=False)
    again = Thresholds.from_dict(json.loads(json.dumps(found.thresholds.as_dict(), allow_nan=False)), 15)
    kept, expected = again.keep(scores, 6), found.thresholds.keep(scores, 6)
    np.testing.assert_array_equal(kept.label_BK, expected.label_BK)
    assert again.offset_L is not None
    np.testing.assert_array_equal(again.offset_L[:12], found.thresholds.offset_L)
    assert len(again.offset_L) == 15
    for plain in (Thresholds(None), Thresholds(0.25, None, 1, 2, 0.125)):
        assert Thresholds.from_dict(json.loads(json.dumps(plain.as_dict())), 3) == plain
    none = Thresholds.from_dict(Thresholds(0.5, np.zeros(4, np.float32)).as_dict(), 4)
    assert none.offset_L is not None
    assert not none.offset_L.any()
    with pytest.raises(BundleError, match="below 3"):
        Thresholds.from_dict(Thresholds(0.5, np.ones(4, np.float32)).as_dict(), 3)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"mode": "best"}, "threshold.mode; got 'best'; expected micro_F1"),
        ({"per_label": "yes"}, "threshold.per_label; got 'yes'"),
        ({"value": 1.5}, "threshold.value; got 1.5"),
        ({"value": float("nan")}, "threshold.value; got nan"),
        ({"abstain": -0.1}, "threshold.abstain; got -0.1"),
        ({"precision": 0.0}, "threshold.precision; got 0.0"),
        ({"precision": 1.01}, "threshold.precision; got 1.01"),
        ({"least": -1}, "threshold.least; got -1"),
        ({"most": -1}, "threshold.most; got -1"),
        ({"least": 3, "most": 2}, "threshold.least = 3 contradicts threshold.most = 2"),
        ({"most": 6}, "threshold.most = 6 contradicts search.k = 5"),
        ({"least": 6}, "threshold.least = 6 contradicts search.k = 5"),
    ],
)
def test_settings_that_are_wrong_or_contradict_each_other_are_refused(chosen, message):
    with pytest.raises(SettingsError) as caught:
        check_thresholds(ThresholdSettings(**chosen), 5)
    assert message in str(caught.value)


def test_settings_at_their_limits_pass():
    check_thresholds(ThresholdSettings(), 5)
    check_thresholds(ThresholdSettings(least=5, most=5, precision=1.0, value=0.0, abstain=1.0), 5)


def test_what_does_not_fit_together_is_refused():
    scores, gold = drawn(0)
    with pytest.raises(ValueError, match="must agree"):
        fit(scores.top(5), csr_matrix(gold[:-1]))
    with pytest.raises(ValueError, match="must agree"):
        fit(scores, gold, group_B=np.zeros(3))
    with pytest.raises(ValueError, match="must agree"):
        fit_thresholds(scores, gold, ThresholdSettings(), 5, evidence_of(gold)._replace(count_L=np.ones(3)))
    for bad in (np.nan, np.inf):
        broken = Scores(scores.label_BK, np.where(scores.label_BK == 3, np.float32(bad), scores.score_BK))
        with pytest.raises(ValueError, match="not finite"):
            fit(broken, gold)
    with pytest.raises(IndexError):
        fit(scores, csr_matrix(gold[:, :2]))


def test_a_tuned_threshold_holds_on_other_documents():
    scores, gold = scaled_labels(7, 0.0, documents=3000)
    first, rest = slice(0, 1000), slice(1000, None)
    found = fit(Scores(scores.label_BK[first], scores.score_BK[first]), csr_matrix(gold[first]), 6)
    others, other_gold = Scores(scores.label_BK[rest], scores.score_BK[rest]), csr_matrix(gold[rest])
    values, _ = every_value(
        Scores(others.label_BK, np.round(others.score_BK, 2)), other_gold, micro_f1, (0, 0, 0), 6
    )
    assert at(found, others, other_gold, micro_f1, 6) > values.max() - 0.01
    assert logit(found.thresholds.value) == pytest.approx(logit(found.report["micro_F1"] / 2), abs=0.5)
