"""Every metric against the plainest loop that could compute it, and against scikit-learn where it has one."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, f1_score, ndcg_score

from raytagger import metrics
from raytagger.metrics import Ratio
from raytagger.schema import PAD, Scores

NAN = float("nan")


class Case(NamedTuple):
    scores: Scores
    gold_BL: np.ndarray
    gold: csr_matrix
    propensity_L: np.ndarray
    unseen_L: np.ndarray
    ranked: list[list[int]]  # the labels of each document without pads
    positive: list[set[int]]  # the gold labels of each document


def rank_randomly(rng, allowed, n_documents, n_places, full=False):
    label_BK = np.full((n_documents, n_places), PAD, dtype=np.int32)
    for row in label_BK:
        n_filled = min(n_places, len(allowed))
        n_filled = n_filled if full else rng.integers(n_filled + 1)
        row[:n_filled] = rng.permutation(allowed)[:n_filled]
    score_BK = -np.sort(rng.random(label_BK.shape), axis=1)
    return Scores(label_BK, np.where(label_BK == PAD, -np.inf, score_BK).astype(np.float32))


def make_case(seed, n_documents=5, n_labels=7, n_places=4, full=False):
    rng = np.random.default_rng(seed)
    scores = rank_randomly(rng, np.arange(n_labels), n_documents, n_places, full)
    gold_BL = rng.random((n_documents, n_labels)) < rng.choice([0.0, 0.2, 0.7], size=(n_documents, 1))
    return Case(
        scores,
        gold_BL,
        csr_matrix(gold_BL) if seed % 2 else untidy(gold_BL),
        rng.uniform(0.1, 1.0, n_labels),
        rng.random(n_labels) < 0.5,
        [[int(label) for label in row if label != PAD] for row in scores.label_BK],
        [{int(label) for label in np.flatnonzero(row)} for row in gold_BL],
    )


def untidy(gold_BL):
    """The same gold as floats, backwards, every label twice, and with the other labels as stored zeros."""
    n_documents, n_labels = gold_BL.shape
    backwards = np.repeat(np.arange(n_labels)[::-1], 2)
    data = gold_BL[:, backwards].astype(np.float32).ravel()
    start = np.arange(n_documents + 1) * len(backwards)
    return csr_matrix((data, np.tile(backwards, n_documents), start), shape=gold_BL.shape)


cases = st.builds(
    make_case,
    seed=st.integers(0, 2**32),
    n_documents=st.integers(0, 6),
    n_labels=st.integers(1, 9),
    n_places=st.integers(0, 9),
)
some = settings(max_examples=60, deadline=None)
ks = st.integers(1, 11)


def assert_same(actual, expected):
    assert np.asarray(actual).dtype == np.float64
    np.testing.assert_allclose(actual, np.array(expected, dtype=np.float64), rtol=1e-12, atol=1e-12)


def dcg(gains):
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


@some
@given(cases)
def test_hits_are_the_places_with_a_gold_label(case):
    expected = [
        [label != PAD and bool(case.gold_BL[row, label]) for label in labels]
        for row, labels in enumerate(case.scores.label_BK)
    ]
    actual = metrics.hits(case.scores, case.gold)
    assert actual.dtype == np.bool_
    assert actual.tolist() == expected
    assert metrics.count_gold(case.gold).tolist() == [len(gold) for gold in case.positive]


def test_a_gold_label_stored_twice_counts_once():
    gold = csr_matrix((np.ones(3, dtype=np.bool_), [1, 1, 0], [0, 3]), shape=(1, 3))
    scores = Scores(np.array([[1, 2]], dtype=np.int32), np.array([[2, 1]], dtype=np.float32))
    assert metrics.count_gold(gold).tolist() == [2]
    assert_same(metrics.recall_at(scores, gold, 2), [0.5])
    assert gold.indices.tolist() == [1, 1, 0], "what the caller passed was changed"


@some
@given(cases, ks)
def test_ranking_metrics_equal_a_loop(case, k):
    precision, recall, ndcg = [], [], []
    for ranked, gold in zip(case.ranked, case.positive, strict=True):
        gains = [float(label in gold) for label in ranked[:k]]
        precision.append(sum(gains) / k if gold else NAN)
        recall.append(sum(gains) / len(gold) if gold else NAN)
        ndcg.append(dcg(gains) / dcg([1.0] * min(k, len(gold))) if gold else NAN)
    assert_same(metrics.precision_at(case.scores, case.gold, k), precision)
    assert_same(metrics.recall_at(case.scores, case.gold, k), recall)
    assert_same(metrics.ndcg_at(case.scores, case.gold, k), ndcg)


@pytest.mark.parametrize("seed", range(8))
def test_ndcg_equals_scikit_learn_on_full_rankings(seed):
    case = make_case(seed, n_documents=20, n_places=7, full=True)
    judged_B = case.gold_BL.any(axis=1)
    score_BL = np.zeros(case.gold_BL.shape)
    np.put_along_axis(score_BL, case.scores.label_BK, case.scores.score_BK, axis=1)
    expected = ndcg_score(case.gold_BL[judged_B], score_BL[judged_B], k=5, ignore_ties=True)
    assert metrics.mean_defined(metrics.ndcg_at(case.scores, case.gold, 5)) == pytest.approx(expected)


def test_a_known_ranking_has_the_values_worked_out_by_hand():
    scores = Scores(np.array([[2, 0, PAD]], dtype=np.int32), np.array([[0.9, 0.1, -np.inf]], dtype=np.float32))
    gold = csr_matrix(np.array([[1, 1, 0, 1]]))
    assert_same(metrics.precision_at(scores, gold, 5), [1 / 5])
    assert_same(metrics.recall_at(scores, gold, 5), [1 / 3])
    assert_same(metrics.ndcg_at(scores, gold, 2), [(1 / math.log2(3)) / (1 + 1 / math.log2(3))])
    assert metrics.psp_at(scores, gold, np.array([0.5, 0.25, 1, 1]), 2) == pytest.approx(2 / (4 + 2))


def test_rankings_that_do_not_fit_are_refused():
    case = make_case(1)
    with pytest.raises(ValueError, match="must agree"):
        metrics.hits(case.scores, case.gold[:3])
    with pytest.raises(ValueError, match="at least 1"):
        metrics.precision_at(case.scores, case.gold, 0)
    with pytest.raises(IndexError):
        metrics.hits(make_case(1, n_labels=9, n_places=9, full=True).scores, case.gold)
    with pytest.raises(ValueError, match="one a label"):
        metrics.psp_at(case.scores, case.gold, case.propensity_L[:-1], 5)


@given(st.lists(st.integers(0, 1000), max_size=5), st.integers(3, 10**6))
def test_propensities_follow_the_formula(counts, n_documents):
    a, b = 0.55, 1.5
    c = (math.log(n_documents) - 1) * (b + 1) ** a
    assert_same(
        metrics.propensities(counts, n_documents),
        [1 / (1 + c * math.exp(-a * math.log(n + b))) for n in counts],
    )


def test_propensities_take_other_constants_and_are_one_without_documents():
    c = (math.log(100) - 1) * (0.4 + 1) ** 0.5
    assert_same(metrics.propensities([4], 100, a=0.5, b=0.4), [1 / (1 + c * math.exp(-0.5 * math.log(4.4)))])
    assert_same(metrics.propensities([0, 1], 0), [1, 1])
    assert_same(metrics.propensities([0, 2], 2), [1, 1])


@some
@given(cases, ks)
def test_propensity_scored_metrics_equal_a_loop(case, k):
    psp, best_psp, psndcg, best_psndcg = [], [], [], []
    for ranked, gold in zip(case.ranked, case.positive, strict=True):
        gains = [1 / case.propensity_L[label] if label in gold else 0.0 for label in ranked[:k]]
        best = sorted((1 / case.propensity_L[label] for label in gold), reverse=True)[:k]
        ideal = dcg([1.0] * min(k, len(gold))) or 1.0
        psp.append(sum(gains) / k)
        best_psp.append(sum(best) / k)
        psndcg.append(dcg(gains) / ideal)
        best_psndcg.append(dcg(best) / ideal)
    arguments = case.scores, case.gold, case.propensity_L, k
    for actual, gains, best in [
        (metrics.psp_gains(*arguments), psp, best_psp),
        (metrics.psndcg_gains(*arguments), psndcg, best_psndcg),
    ]:
        assert_same(actual.numerator_B, gains)
        assert_same(actual.denominator_B, best)
    expected = [sum(psp) / sum(best_psp), sum(psndcg) / sum(best_psndcg)] if any(case.positive) else [NAN, NAN]
    assert_same([metrics.psp_at(*arguments), metrics.psndcg_at(*arguments)], expected)


def test_the_rarest_labels_first_is_a_perfect_propensity_scored_ranking():
    gold = csr_matrix(np.array([[1, 1, 1, 0]]))
    propensity_L = np.array([0.9, 0.1, 0.5, 0.01])
    for labels, perfect in [([1, 2, 0], True), ([0, 1, 2], False), ([3, 1, 2], False)]:
        scores = Scores(np.array([labels], dtype=np.int32), np.array([[3, 2, 1]], dtype=np.float32))
        assert (metrics.psp_at(scores, gold, propensity_L, 2) == pytest.approx(1.0)) == perfect
        assert (metrics.psndcg_at(scores, gold, propensity_L, 3) == pytest.approx(1.0)) == perfect


@some
@given(cases, ks)
def test_zero_shot_recall_equals_a_loop(case, k):
    unseen = {int(label) for label in np.flatnonzero(case.unseen_L)}
    only_unseen = rank_randomly(np.random.default_rng(k), sorted(unseen), len(case.gold_BL), 4)
    for function, scores in [(metrics.zsr_at, case.scores), (metrics.ur_at, only_unseen)]:
        expected = []
        for labels, gold in zip(scores.label_BK, case.positive, strict=True):
            wanted = gold & unseen
            expected.append(len(wanted & set(labels[:k].tolist())) / len(wanted) if wanted else NAN)
        assert_same(function(scores, case.gold, case.unseen_L, k), expected)
    n_pairs = sum(len(gold & unseen) for gold in case.positive)
    assert metrics.unseen_gold(case.gold, case.unseen_L).nnz == n_pairs


def test_unseen_recall_refuses_a_seen_label_even_below_k():
    scores = Scores(np.array([[2, 0]], dtype=np.int32), np.array([[1, 0]], dtype=np.float32))
    gold = csr_matrix(np.ones((1, 3)))
    with pytest.raises(ValueError, match="such as 0"):
        metrics.ur_at(scores, gold, np.array([False, True, True]), 1)
    with pytest.raises(ValueError, match="expected bool"):
        metrics.zsr_at(scores, gold, np.array([0, 1, 1]), 1)  # pyright: ignore[reportArgumentType]


def test_chance_is_what_random_rankings_reach_on_average():
    rng = np.random.default_rng(0)
    gold = csr_matrix(np.eye(20, dtype=np.bool_)[np.zeros(4000, dtype=int)])
    scores = rank_randomly(rng, np.arange(20), 4000, 5, full=True)
    reached = metrics.mean_defined(metrics.zsr_at(scores, gold, np.ones(20, dtype=np.bool_), 5))
    assert metrics.chance_zsr(20, 5) == 0.25
    assert reached == pytest.approx(0.25, abs=0.03)
    assert metrics.chance_zsr(3, 10) == 1.0
    assert math.isnan(metrics.chance_zsr(0, 10))


@some
@given(cases, st.floats(-1, 1))
def test_kept_tags_are_the_places_at_or_above_the_threshold(case, threshold):
    expected = np.zeros(case.gold_BL.shape, dtype=np.bool_)
    for row, (labels, values) in enumerate(zip(case.scores.label_BK, case.scores.score_BK, strict=True)):
        for label, value in zip(labels, values, strict=True):
            expected[row, label] |= label != PAD and value >= threshold
    assert metrics.tag_matrix(case.scores, expected.shape[1], threshold).toarray().tolist() == expected.tolist()
    assert metrics.tag_matrix(case.scores, expected.shape[1]).nnz == sum(map(len, case.ranked))


def test_a_score_equal_to_the_threshold_is_kept():
    scores = Scores(np.array([[1, 0, 2]], dtype=np.int32), np.array([[0.75, 0.5, 0.25]], dtype=np.float32))
    assert metrics.tag_matrix(scores, 3, 0.5).toarray().tolist() == [[True, True, False]]


@some
@given(cases)
def test_f1_equals_scikit_learn_on_the_labels_that_occur(case):
    kept = metrics.tag_matrix(case.scores, case.gold.shape[1])
    micro, macro = metrics.micro_f1(kept, case.gold), metrics.macro_f1(kept, case.gold)
    kept_BL = kept.toarray()
    occurs_L = (kept_BL | case.gold_BL).any(axis=0)
    if not occurs_L.any():
        assert math.isnan(micro)
        assert math.isnan(macro)
        return
    # One more label without tags or gold keeps scikit-learn from reading a single column as binary labels.
    padding = ((0, 0), (0, 1))
    labels = range(occurs_L.sum())
    pair = np.pad(case.gold_BL[:, occurs_L], padding), np.pad(kept_BL[:, occurs_L], padding)
    assert micro == pytest.approx(f1_score(*pair, labels=labels, average="micro", zero_division=0))
    assert macro == pytest.approx(f1_score(*pair, labels=labels, average="macro", zero_division=0))


def test_f1_refuses_other_shapes():
    with pytest.raises(ValueError, match="one shape"):
        metrics.micro_f1(csr_matrix((2, 3)), csr_matrix((2, 4)))


chances = st.floats(0, 1) | st.sampled_from([0.0, 0.2, 0.5, 1.0])


@some
@given(st.lists(st.tuples(chances, st.booleans()), min_size=1, max_size=30), st.sampled_from([1, 5, 15]))
def test_calibration_error_and_brier_equal_a_loop(pairs, n_bins):
    bins = {}
    for chance, outcome in pairs:
        bins.setdefault(min(int(chance * n_bins), n_bins - 1), []).append((chance, outcome))
    gaps = [
        len(members) / len(pairs) * abs(np.mean([p for p, _ in members]) - np.mean([y for _, y in members]))
        for members in bins.values()
    ]
    probability_P, outcome_P = map(np.array, zip(*pairs, strict=True))
    assert metrics.expected_calibration_error(probability_P, outcome_P, n_bins) == pytest.approx(sum(gaps))
    found = metrics.reliability(probability_P, outcome_P, n_bins)
    assert [one.pairs for one in found] == [len(bins[row]) for row in sorted(bins)]
    for one, row in zip(found, sorted(bins), strict=True):
        assert one.probability == pytest.approx(np.mean([p for p, _ in bins[row]]))
        assert one.share == pytest.approx(np.mean([y for _, y in bins[row]]))
    brier = metrics.brier_score(probability_P, outcome_P)
    assert brier == pytest.approx(sum((p - y) ** 2 for p, y in pairs) / len(pairs))
    assert brier == pytest.approx(brier_score_loss(outcome_P, probability_P, pos_label=True))


def test_a_reliability_diagram_by_hand():
    """Of fifteen bins 0.1 and 0.12 share the second, 0.5 is in the eighth and 1 in the last."""
    found = metrics.reliability([0.12, 1.0, 0.5, 0.1], [1, 1, 0, 0])
    assert [tuple(one) for one in found] == [pytest.approx(one) for one in [(0.11, 0.5, 2), (0.5, 0, 1), (1, 1, 1)]]
    ece = metrics.expected_calibration_error([0.12, 1.0, 0.5, 0.1], [1, 1, 0, 0])
    assert ece == pytest.approx((2 * 0.39 + 0.5 + 0) / 4)
    assert metrics.reliability([], []) == []
    with pytest.raises(ValueError, match="probabilities"):
        metrics.reliability([0.5, 2.0], [1, 1])


def test_the_bins_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    probability_P = rng.random(500)
    outcome_P = rng.random(500) < probability_P**2
    share, probability = calibration_curve(outcome_P, probability_P, n_bins=10)
    found = metrics.reliability(probability_P, outcome_P, 10)
    assert [one.share for one in found] == pytest.approx(share.tolist())
    assert [one.probability for one in found] == pytest.approx(probability.tolist())


def test_calibration_of_nothing_and_of_something_else():
    assert math.isnan(metrics.expected_calibration_error([], []))
    assert math.isnan(metrics.brier_score([], []))
    assert metrics.expected_calibration_error([0.0, 1.0, 1.0], [False, True, True]) == 0.0
    # Of fifteen bins the first pair shares one, so that its gaps cancel out, and the second takes two.
    assert metrics.expected_calibration_error([0.61, 0.65], [0, 1]) == pytest.approx((0.61 - 0.35) / 2)
    assert metrics.expected_calibration_error([0.61, 0.68], [0, 1]) == pytest.approx((0.61 + 0.32) / 2)
    # A probability of 1 shares the last bin with those just below it.
    assert metrics.expected_calibration_error([1.0, 0.97], [0, 1]) == pytest.approx((1.0 - 0.03) / 2)
    for bad in [[1.2], [-0.1], [NAN], [0.1, 0.2]]:
        with pytest.raises(ValueError, match="probabilities"):
            metrics.brier_score(bad, [1])


def test_ratio_and_mean_leave_undefined_documents_out(recwarn):
    ratio = Ratio(np.array([1.0, 0.0, 2.0]), np.array([2.0, 0.0, 2.0]))
    assert_same(ratio.per_document(), [0.5, NAN, 1.0])
    assert ratio.total() == 0.75
    assert metrics.mean_defined(np.array([1.0, NAN, 0.0])) == 0.5
    assert math.isnan(metrics.mean_defined(np.array([NAN])))
    assert math.isnan(metrics.mean_defined(np.array([])))
    assert not recwarn.list
