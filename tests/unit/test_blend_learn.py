"""What a blend learns, part by part: joining, hidden labels, the bias, the cascade; and what is kept on disk."""

import json
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.special import expit

from raytagger import metrics
from raytagger.bundle.features import load_features, save_features, take_rows
from raytagger.bundle.frozen import FrozenFeatures
from raytagger.bundle.panel import PIVOT, Cascade, Panel, from_dict, log_odds, raised, spread, sureness
from raytagger.bundle.xml0 import Xml0Features
from raytagger.calibration import Curve, fit_curve
from raytagger.recipes.blend_bias import (
    BIASES,
    FEWEST_HIDDEN,
    Both,
    Point,
    bias_curve,
    choose_bias,
    hidden_groups,
    merged,
)
from raytagger.recipes.blend_cascade import fit_cascade
from raytagger.recipes.blend_seen import Pairs, join_seen, member_curves, right_pairs
from raytagger.recipes.blend_unseen import (
    FALLBACK_OFFSET,
    FALLBACK_SLOPE,
    GATE_LEAD,
    Guessed,
    Pseudo,
    draw_pseudo,
    guess_unseen,
    usable_pairs,
)
from raytagger.schema import PAD, Scores
from raytagger.search.blend import Candidates, Gate, Setting, seen_facts, unite, unseen_facts

LABELS = 30


def gold_of(rng, documents=200, labels=LABELS, each=2) -> sp.csr_matrix:
    """Documents with two labels at random."""
    gold = np.zeros((documents, labels), bool)
    for row in range(documents):
        gold[row, rng.choice(labels, each, replace=False)] = True
    return sp.csr_matrix(gold)


def said(rng, gold, gain, k=15) -> Scores:
    """A member whose scores of right labels are higher by some deviations."""
    score_BL = rng.normal(size=gold.shape) + gain * gold.toarray()
    label_BK = np.argsort(-score_BL, axis=1)[:, :k].astype(np.int32)
    return Scores(label_BK, np.take_along_axis(score_BL, label_BK, 1).astype(np.float32))


def ndcg(scores, gold) -> float:
    return metrics.mean_defined(metrics.ndcg_at(scores, gold, 5))


# Seen labels


def joined_of(rng, gold, gains):
    results = [said(rng, gold, gain) for gain in gains]
    candidates = unite(results)
    right_BC = right_pairs(candidates, gold)
    curves = member_curves(candidates, right_BC)
    zero_BC = np.zeros(candidates.label_BC.shape)
    setting = Setting(np.log1p(zero_BC + 5), zero_BC, np.ones((len(zero_BC), 1)))
    odds_MBC = np.stack([curve.odds(one) for curve, one in zip(curves, candidates.score_MBC, strict=True)])
    fact_BCF = seen_facts(odds_MBC, candidates, setting)
    fold_B = np.arange(len(zero_BC)) % 5
    pairs = Pairs(candidates, fact_BCF, right_BC, gold, fold_B, np.full(LABELS, 5))
    return results, pairs, join_seen(pairs, curves)


def test_right_pairs_are_the_gold_ones():
    gold = sp.csr_matrix(np.array([[True, False, True], [False, False, False]]))
    label_BC = np.array([[0, 1, 2], [0, PAD, PAD]], np.int32)
    candidates = Candidates(label_BC, np.zeros((1, 2, 3)), np.zeros((1, 2, 3)), np.zeros((1, 2)))
    assert right_pairs(candidates, gold).tolist() == [[True, False, True], [False, False, False]]


def test_members_that_know_different_things_are_better_together():
    rng = np.random.default_rng(0)
    gold = gold_of(rng)
    results, pairs, joined = joined_of(rng, gold, (2.0, 2.0))
    alone = [ndcg(result, gold) for result in results]
    assert joined.ndcg[joined.way] == max(value for way, value in joined.ndcg.items() if way != "offsets of labels")
    assert joined.ndcg["mean of members"] > max(alone) + 0.03
    assert [joined.ndcg[f"member {m}"] for m in range(2)] == pytest.approx(alone, abs=0.02)
    chance = expit(joined.odds_BC[pairs.filled_BC])
    assert chance.mean() == pytest.approx(pairs.right_BC[pairs.filled_BC].mean(), abs=0.02)
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 1.0)):
        some = (chance >= low) & (chance < high)
        assert pairs.right_BC[pairs.filled_BC][some].mean() == pytest.approx(chance[some].mean(), abs=0.07)


@pytest.mark.parametrize("seed", range(8))
def test_a_member_that_knows_nothing_costs_nothing(seed):
    rng = np.random.default_rng(seed)
    gold = gold_of(rng)
    results, pairs, joined = joined_of(rng, gold, (2.5, 0.0))
    best = ndcg(results[0], gold)
    assert (joined.ndcg[joined.way] or 0) >= best - 0.005
    adds_M = np.abs(joined.gate.weight_F[:2]) * pairs.fact_BCF[pairs.filled_BC][:, :2].std(axis=0)
    assert adds_M[0] > 3 * adds_M[1]
    assert joined.gate.weight_F.shape == (pairs.fact_BCF.shape[2],)


def test_with_too_few_right_pairs_members_are_joined_by_rank():
    rng = np.random.default_rng(2)
    _, pairs, joined = joined_of(rng, gold_of(rng, documents=8), (2.0, 2.0))
    assert joined.way == "ranks of members"
    np.testing.assert_allclose(joined.gate.odds(pairs.fact_BCF), pairs.candidates.rank_MBC.mean(axis=0), atol=1e-6)


# Unseen labels


class Forgetful(NamedTuple):
    """As much of a tagger as `draw_pseudo` asks for; one that learnt all its labels at once forgets none."""

    train_count_L: np.ndarray
    forgets: bool

    def forgetting(self, hidden_L):
        return self if self.forgets or not (hidden_L & (self.train_count_L > 0)).any() else None


def test_rare_labels_that_every_member_can_forget_are_drawn():
    count_L = np.array([0, 1, 2, 3, 3, 4, 4, 5, 6, 50, 60, 70, 80, 90, 3])
    usable_L = np.ones(15, bool)
    usable_L[14] = False
    free = Forgetful(count_L, True)
    drawn = draw_pseudo([free, free], count_L, usable_L, 0)
    assert drawn.tolist() == [3, 4, 5, 6, 7, 8]  # from three documents to the median of such usable labels, 6
    assert drawn.tolist() == draw_pseudo([free], count_L, usable_L, 0).tolist()


def test_what_a_member_cannot_forget_is_not_drawn():
    count_L = np.array([0, 3, 3, 4, 4, 50, 60, 70])
    everything = np.ones(8, bool)
    stubborn = Forgetful(np.array([0, 3, 0, 4, 0, 50, 60, 70]), False)
    assert draw_pseudo([Forgetful(count_L, True), stubborn], count_L, everything, 0).tolist() == [2, 4]
    assert not len(draw_pseudo([Forgetful(count_L, False)], count_L, everything, 0))
    assert not len(draw_pseudo([Forgetful(count_L, True)], np.minimum(count_L, 2), everything, 0))
    assert not len(draw_pseudo([Forgetful(count_L * 0, True)], count_L * 0, everything, 0))


def test_a_fifth_of_the_labels_is_drawn_at_most():
    count_L = np.full(400, 5)
    drawn = [draw_pseudo([Forgetful(count_L, True)], count_L, np.ones(400, bool), seed) for seed in (0, 0, 1)]
    assert [len(one) for one in drawn] == [80] * 3
    assert drawn[0].tolist() == drawn[1].tolist() == sorted(set(drawn[0].tolist()))
    assert drawn[0].tolist() != drawn[2].tolist()


def guessed_of(rng, gains, documents=300, right=None) -> tuple[Pseudo, Guessed]:
    """Members whose unusual scores say something of right labels; all labels are pseudo-unseen."""
    gold = gold_of(rng, documents, 12, 1)
    right_DC = gold.toarray()
    if right is not None:
        right_DC[right:] = False
    label_DC = np.tile(np.arange(12, dtype=np.int32), (documents, 1))
    away_MDC = np.stack([rng.normal(size=right_DC.shape) + gain * right_DC for gain in gains])
    shape = away_MDC.shape
    candidates = Candidates(label_DC, np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape[:2]))
    setting = Setting(np.zeros(shape[1:]), np.zeros(shape[1:]), np.ones((documents, 1)))
    fact_DCF = unseen_facts(away_MDC, candidates, setting)
    known_DC = usable_pairs(candidates, np.arange(12), 12)
    pseudo = Pseudo(candidates, fact_DCF, right_DC, known_DC, np.ones(documents))
    return pseudo, guess_unseen(pseudo, len(gains), 0)


def test_unseen_labels_are_guessed_by_what_members_know_together():
    pseudo, guessed = guessed_of(np.random.default_rng(0), (2.0, 2.0))
    assert guessed.hit["mean of members"] > max(guessed.hit["member 0"], guessed.hit["member 1"]) + 0.05
    assert guessed.hit[guessed.way] >= max(guessed.hit.values()) - GATE_LEAD
    assert guessed.way.startswith("gate")  # of equally good ways, one that weighs
    best_D = pseudo.fact_DCF[:, :, 0].argsort(axis=1)[:, ::-1]  # a member alone by hand: UR@1 and UR@5
    hits = [[pseudo.right_DC[row, best_D[row, :k]].any() for k in (1, 5)] for row in range(300)]
    assert guessed.hit["member 0"] == pytest.approx(np.mean(hits), abs=0.01)
    assert guessed.odds_DC is not None
    assert expit(guessed.odds_DC).mean() == pytest.approx(1 / 12, abs=0.01)


def test_fewer_than_twenty_positives_are_not_fitted():
    pseudo, guessed = guessed_of(np.random.default_rng(0), (2.0, 2.0), right=19)
    assert guessed.way == "mean of members, not calibrated"
    assert guessed.odds_DC is None
    expected = FALLBACK_SLOPE * pseudo.fact_DCF[:, :, :2].mean(axis=2) + FALLBACK_OFFSET
    np.testing.assert_allclose(guessed.gate.odds(pseudo.fact_DCF), expected)
    assert guessed_of(np.random.default_rng(0), (2.0, 2.0), right=20)[1].odds_DC is not None
    assert guess_unseen(None, 2, 0).gate.weight_F.shape == (4 * 2 + 2,)


# The bias


def both_of(rng, documents=100) -> tuple[Both, np.ndarray]:
    """Six pseudo-unseen labels, which when hidden have smaller chances than seen ones have."""
    gold, pseudo_J = gold_of(rng, documents), np.arange(6)

    def candidates(label_C, gain, low):
        label_BC = np.tile(label_C.astype(np.int32), (documents, 1))
        shape = (1, *label_BC.shape)
        odds_BC = rng.normal(size=label_BC.shape) + gain * gold.toarray()[:, label_C] - low
        return Candidates(label_BC, np.zeros(shape), np.zeros(shape), np.zeros(shape[:2])), odds_BC

    seen, unseen = candidates(np.arange(LABELS), 4.0, 3.0), candidates(pseudo_J, 3.0, 5.0)
    return Both(*seen, *unseen, gold), pseudo_J


def test_a_bias_finds_more_hidden_labels():
    both, pseudo_J = both_of(np.random.default_rng(0))
    curve = bias_curve(both, hidden_groups(pseudo_J, LABELS), np.zeros(0, np.int64), 0.06)
    assert [point.bias for point in curve] == list(BIASES)
    zsr = [point.zsr or 0 for point in curve]
    assert zsr == sorted(zsr)
    assert zsr[-1] > zsr[0] + 0.1


def test_other_documents_tell_of_a_gain_and_of_no_price():
    few, pseudo_J = both_of(np.random.default_rng(4), documents=12)
    many, _ = both_of(np.random.default_rng(5), documents=200)
    given = (hidden_groups(pseudo_J, LABELS), np.zeros(0, np.int64), 0.5)
    alone, told, both = bias_curve(few, *given), bias_curve(few, *given, others=many), bias_curve(many, *given)
    for one, other, more in zip(alone, told, both, strict=True):
        assert other[:6] == one[:6]
        np.testing.assert_array_equal(other.found_D, np.concatenate([one.found_D, more.found_D]))
        assert set(one.document_D[np.isfinite(one.found_D)]) <= set(range(12))
        assert other.documents == one.documents + more.documents
    assert choose_bias(alone[:8], 0.5, 0.5, 0) == 0.0
    assert choose_bias(told[:8], 0.5, 0.5, 0) == BIASES[7]


def test_the_ranking_of_a_bias_is_the_slow_one():
    both, _ = both_of(np.random.default_rng(1), documents=10)
    hidden, bias = [1, 4], 0.5
    found = merged(both, np.array(hidden), np.zeros(0, np.int64), bias, 8)
    for row in range(10):
        chance = {label: expit(both.seen_odds_BC[row, label]) for label in range(LABELS) if label not in hidden}
        for label in hidden:
            believed = expit(both.unseen_odds_BC[row, label])
            chance[label] = max(believed, PIVOT * min(1, believed / PIVOT) ** (1 - bias))
        best = sorted(chance, key=lambda label: (-np.float32(chance[label]), label))[:8]
        assert found.label_BK[row].tolist() == best
        np.testing.assert_allclose(found.score_BK[row], [chance[label] for label in best], rtol=1e-5)


def point_of(bias, ndcg, recall, zsr, error, documents=400):
    """A point of a curve; a share `zsr` of the documents has its hidden label found."""
    found_D = (np.arange(documents) < zsr * documents).astype(float)
    return Point(bias, ndcg, recall, zsr, error, 0.0, found_D, np.arange(documents))


def test_the_largest_bias_within_all_limits_is_chosen():
    curve = [
        point_of(0.0, 0.5, 0.7, 0.1, 0.0),
        point_of(0.2, 0.497, 0.7, 0.2, 0.03),
        point_of(0.4, 0.495, 0.7, 0.3, 0.06),
        point_of(0.6, 0.46, 0.7, 0.4, 0.09),
    ]
    assert choose_bias(curve, 0.05, 0.006, 0) == 0.2
    assert choose_bias(curve, 0.1, 0.006, 0) == 0.4
    assert choose_bias(curve, 0.1, 0.05, 0) == 0.6
    assert choose_bias(curve, 0.05, 0.001, 0) == 0.0
    assert choose_bias([*curve[:3], curve[3]._replace(error=0.01, seen_error=0.2)], 0.1, 0.05, 0) == 0.4
    assert choose_bias([*curve[:3], curve[3]._replace(recall=0.64)], 0.1, 0.05, 0) == 0.4


def test_an_error_that_is_there_without_a_bias_forbids_none():
    curve = [
        point_of(0.0, 0.5, 0.7, 0.1, 0.12),
        point_of(0.4, 0.499, 0.7, 0.3, 0.1),
        point_of(0.6, 0.498, 0.7, 0.4, 0.2),
    ]
    assert choose_bias(curve, 0.06, 0.01, 0) == 0.4


@pytest.mark.parametrize(("zsr", "bias"), [(0.1, 0.0), (0.1025, 0.0), (0.13, 0.5)])
def test_a_gain_within_chance_is_worth_no_bias(zsr, bias):
    curve = [point_of(0.0, 0.5, 0.7, 0.1, 0.0), point_of(0.5, 0.499, 0.7, zsr, 0.05)]
    assert choose_bias(curve, 0.06, 0.01, 0) == bias


def test_a_gain_smaller_than_its_price_is_worth_no_bias():
    start, middle = point_of(0.0, 0.5, 0.7, 0.1, 0.0, 4000), point_of(0.3, 0.5, 0.699, 0.104, 0.0, 4000)
    costly = point_of(0.7, 0.499, 0.691, 0.107, 0.0, 4000)
    assert costly.gains(start, 0.0, 0)
    assert choose_bias([start, costly], 0.06, 0.01, 0) == 0.0
    assert choose_bias([start, middle, costly], 0.06, 0.01, 0) == 0.3


@pytest.mark.parametrize("bias", [0.0, 0.3, 0.85, 0.99])
def test_raising_keeps_the_order_and_leaves_likely_labels(bias):
    chance = np.array([0.0, 1e-6, 0.01, 0.1, PIVOT, 0.5, 1.0])
    found = raised(chance, bias)
    assert (np.diff(found) > 0).all()
    assert (found >= chance).all()
    if bias < 0.86:
        np.testing.assert_allclose(found[4:], chance[4:])
    else:
        assert found[1] > 0.75
    np.testing.assert_allclose(raised(chance, 0.0), chance)


def test_what_is_shown_is_calibrated_anew_where_raising_spoils_it():
    both, pseudo_J = both_of(np.random.default_rng(2), documents=600)
    nothing = np.zeros(0, np.int64)
    point = bias_curve(both, hidden_groups(pseudo_J, LABELS), nothing, 0.06, [0.9])[0]
    spoilt = bias_curve(both, hidden_groups(pseudo_J, LABELS), nothing, 0.9, [0.9])[0]
    assert spoilt.shown is None
    assert point.shown is not None
    assert (point.error or 1) < 0.7 * (spoilt.error or 0)
    assert (point.ndcg, point.zsr) == (spoilt.ndcg, spoilt.zsr)


def test_few_hidden_labels_among_what_is_shown_calibrate_nothing():
    both, pseudo_J = both_of(np.random.default_rng(2), documents=FEWEST_HIDDEN // 6 - 1)  # six hidden labels each
    point = bias_curve(both, hidden_groups(pseudo_J, LABELS), np.zeros(0, np.int64), 0.0, [0.9])[0]
    assert point.error is not None
    assert point.error > 0
    assert point.shown is None


def test_what_is_shown_keeps_the_order_of_the_ranking():
    rng = np.random.default_rng(3)
    chance_P = rng.random(40_000)
    shown = fit_curve(log_odds(chance_P), rng.random(40_000) < chance_P**2)
    none = Gate(np.zeros(0), 0.0)
    panel = Panel((), (), none, shown, np.zeros(3), none, shown)
    scores = Scores(np.array([[2, 0, PAD]], np.int32), np.array([[0.8, 0.5, -np.inf]], np.float32))
    found = panel.show(scores)
    assert found.label_BK.tolist() == [[2, 0, PAD]]
    np.testing.assert_allclose(found.score_BK[0, :2], [0.64, 0.25], atol=0.05)
    assert found.score_BK[0, 2] == -np.inf
    told = panel.told(np.linspace(0, 1, 500))
    assert (np.diff(told) > 0).all()
    np.testing.assert_array_equal(panel._replace(shown=None).told(chance_P), chance_P)


def test_without_a_measurable_hidden_label_there_is_no_bias():
    both, _ = both_of(np.random.default_rng(0))
    curve = bias_curve(both, [np.zeros(0, np.int64)], np.zeros(0, np.int64), 0.06)
    assert all(point.zsr is None and point.error is None for point in curve)
    assert curve[0].ndcg is not None
    assert choose_bias(curve, 0.9, 0.9, 0) == 0.0
    nothing = [point_of(bias, None, None, 0.0, None, documents=0) for bias in (0.0, 0.5)]
    assert choose_bias(nothing, 0.9, 0.9, 0) == 0.0


# The cascade


def rankings_of(rng, documents):
    """Half of the documents: the cheap ranking is sure and as good as the full one; else unsure and poor."""
    gold = gold_of(rng, documents, each=1)
    right_B = np.asarray(gold.argmax(axis=1)).ravel()
    sure_B = np.arange(documents) % 2 == 0
    cheap_BK = np.stack([(right_B + 1 + place) % LABELS for place in range(10)], axis=1).astype(np.int32)
    full_BK = np.roll(cheap_BK, 1, axis=1)
    full_BK[:, 0] = right_B
    cheap_BK = np.where(sure_B[:, None], full_BK, cheap_BK)
    chance_BK = np.where(sure_B[:, None], 0.9, 0.3) * 0.5 ** np.arange(10) + 0.01 * rng.random((documents, 1))
    chance_BK = chance_BK.astype(np.float32)
    return Scores(cheap_BK, chance_BK), Scores(full_BK, chance_BK), gold, sure_B


def test_documents_without_gain_are_skipped():
    cheap, full, gold, sure_B = rankings_of(np.random.default_rng(0), 200)
    saving = fit_cascade(cheap, full, gold, np.arange(200) // 2 % 5, 0.002)
    assert 0.45 < saving.share_skipped <= 0.5
    assert saving.loss == pytest.approx(0.0)
    skipped_B = saving.cascade.gain(cheap) <= saving.cascade.least_gain
    assert not (skipped_B & ~sure_B).any()
    assert skipped_B[sure_B].mean() > 0.8


def test_a_cascade_loses_no_more_on_other_documents():
    """Gains that are mostly chance: a cut that wins on its own documents must not be taken for a saving."""
    fresh = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        gains = []
        for documents in (300, 1000):
            gold = gold_of(rng, documents)
            cheap, full = (
                Scores(one.label_BK, expit(one.score_BK)) for one in (said(rng, gold, 2.3), said(rng, gold, 2.8))
            )
            gains.append((cheap, full, gold))
        saving = fit_cascade(*gains[0], np.arange(300) % 5, 0.002)
        cheap, full, gold = gains[1]
        gain_B = metrics.ndcg_at(full, gold, 5) - metrics.ndcg_at(cheap, gold, 5)
        fresh.append(np.where(saving.cascade.gain(cheap) <= saving.cascade.least_gain, gain_B, 0).mean())
    assert np.mean(fresh) < 0.0025


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1])
def test_skipped_documents_lose_no_more_than_allowed(loss):
    rng = np.random.default_rng(3)
    gold = gold_of(rng)
    cheap, full = (
        Scores(one.label_BK, expit(one.score_BK)) for one in (said(rng, gold, 1.0), said(rng, gold, 3.0))
    )
    saving = fit_cascade(cheap, full, gold, np.arange(200) % 5, loss)
    assert saving.loss <= loss
    assert saving.share_skipped >= 0
    everything = fit_cascade(cheap, full, gold, np.arange(200) % 5, 1.0)
    assert everything.share_skipped > 0.98
    assert everything.loss == pytest.approx(ndcg(full, gold) - ndcg(cheap, gold), abs=0.01)
    assert saving.share_skipped < 1


@pytest.mark.parametrize("documents", [2, 48])
def test_too_few_documents_skip_nothing(documents):
    cheap, full, gold, _ = rankings_of(np.random.default_rng(0), documents)
    saving = fit_cascade(cheap, full, gold, np.arange(documents) % 2, 1.0)
    assert saving.share_skipped == 0
    assert (saving.cascade.gain(cheap) > saving.cascade.least_gain).all()


def test_sureness_takes_narrow_rankings():
    scores = Scores(np.array([[4, 2, PAD]], np.int32), np.array([[0.5, 0.25, -np.inf]], np.float32))
    expected = [0.5, 0.25, *[0] * 8, 0.75, 0.25 + 0.1875, 0.25, 0.5]
    np.testing.assert_allclose(sureness(scores), [expected])


# What is kept


def frozen_features(rng) -> FrozenFeatures:
    doc_BV = sp.csr_matrix(np.where(rng.random((4, 9)) < 0.5, rng.random((4, 9)), 0).astype(np.float32))
    return FrozenFeatures(
        4, rng.normal(size=(4, 3)).astype(np.float32), doc_BV, np.array([True, False, False, True])
    )


def assert_same(one, other):
    assert type(one) is type(other)
    assert np.asarray(one.cut_B).tolist() == np.asarray(other.cut_B).tolist()
    for left, right in zip(one, other, strict=True):
        if isinstance(left, tuple):
            assert_same(left, right)
        elif sp.issparse(left):
            assert left.shape == right.shape
            assert left.dtype == right.dtype
            assert (left != right).nnz == 0
        elif isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_allclose(left, right, rtol=1e-3)
        else:
            assert left == right


@pytest.mark.parametrize("without", [(), ("doc_BD",), ("doc_BV",), ("doc_BD", "doc_BV")])
def test_features_come_back(tmp_path, without):
    features = frozen_features(np.random.default_rng(0))._replace(**dict.fromkeys(without))
    save_features(features, tmp_path / "sample")
    like = take_rows(features, np.array([0]))
    assert like.documents == 1
    assert_same(load_features(like, 4, tmp_path / "sample"), features)


def test_features_within_features_come_back(tmp_path):
    rng = np.random.default_rng(0)
    features = Xml0Features(frozen_features(rng), rng.normal(size=(4, 2)).astype(np.float32), np.zeros(4, bool))
    save_features(features, tmp_path / "sample")
    assert_same(load_features(take_rows(features, np.array([1])), 4, tmp_path / "sample"), features)


def test_rows_of_features_are_those_of_each_array():
    features = frozen_features(np.random.default_rng(0))
    some = take_rows(features, np.array([3, 1]))
    assert some.documents == 2
    np.testing.assert_array_equal(some.doc_BD, features.doc_BD[[3, 1]])
    np.testing.assert_array_equal(some.doc_BV.toarray(), features.doc_BV.toarray()[[3, 1]])
    assert some.cut_B.tolist() == [True, False]


@pytest.mark.parametrize("whole", [False, True])
def test_a_panel_comes_back_from_json(whole):
    cascade = Cascade(np.linspace(-1, 1, 14), 0.125, -0.5) if whole else None
    shown = Curve(np.array([-2.0, 2.0]), np.array([-3.0, 2.5]), "platt") if whole else None
    curves = [Curve(np.array([0.0, k]), np.array([-1.0, 1.5]), "platt") for k in (1.0, 2.0, 3.0)]
    offset_L = np.array([0.0, 0.25, 0.0, -1.5])
    gates = Gate(np.linspace(-1, 1, 10), 0.75), Gate(np.linspace(0, 3, 10), -3.5)
    panel = Panel((2, 0), tuple(curves[:2]), gates[0], curves[2], offset_L, gates[1], shown, cascade)
    again = from_dict(json.loads(json.dumps(panel.as_dict())), 4)
    assert again.members == (2, 0)
    np.testing.assert_array_equal(again.offset_L, offset_L)
    candidates = unite(
        [
            Scores(np.array([[3, 1]], np.int32), np.array([[0.9, 0.4]], np.float32)),
            Scores(np.array([[1, 0]], np.int32), np.array([[7.0, 2.0]], np.float32)),
        ]
    )
    np.testing.assert_array_equal(again.member_odds(candidates), panel.member_odds(candidates))
    fact_BCF = np.random.default_rng(0).normal(size=(1, 3, 10))
    for seen in (True, False):
        np.testing.assert_array_equal(
            again.probability(candidates, fact_BCF, seen), panel.probability(candidates, fact_BCF, seen)
        )
    np.testing.assert_array_equal(again.told(np.array([0.1, 0.9])), panel.told(np.array([0.1, 0.9])))
    if cascade is None:
        assert again.cascade is None
        assert again.shown is None
    else:
        assert again.cascade is not None
        scores = Scores(np.array([[3, 1]], np.int32), np.array([[0.9, 0.4]], np.float32))
        assert again.cascade.gain(scores) == cascade.gain(scores)
        assert (again.cascade.least_gain, again.cascade.depth) == (cascade.least_gain, cascade.depth)


def test_spread_marks_what_is_named():
    assert spread([2, 0], 4).tolist() == [True, False, True, False]
    assert not spread([], 3).any()
