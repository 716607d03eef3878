"""The plain hybrid, and a blend's curve over the bias beside its curve.

The plain hybrid ranks seen labels by a linear tagger and unseen ones by a frozen one, each calibrated on validation
documents, and adds a number to the log odds of unseen labels.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger import metrics
from raytagger.bundle import Tagger
from raytagger.bundle.panel import raised, spread
from raytagger.calibration import fit_curve, fit_platt
from raytagger.corpus import read_documents
from raytagger.evaluate.documents import gold_matrix
from raytagger.recipes.blend_unseen import draw_pseudo
from raytagger.schema import PAD, Scores
from raytagger.settings import SourceSettings
from raytagger.store import Store
from raytagger.vectors import merge_disjoint

ADDED = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # to the log odds of unseen labels
BIASES = (*(step / 50 for step in range(50)), 0.99, 0.995)
CANDIDATES, DEPTH = 100, 10


class Sides(NamedTuple):
    """What a tagger ranks of the documents that a point of its curve is chosen on, and of those that measure it."""

    validation: metrics.Ranked
    test: metrics.Ranked


def beside_hybrid(blend: Sides, hybrid: Sides, unseen_L: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """For each point of the hybrid, the blend at the highest bias that keeps the hybrid's nDCG@5.

    The bias is chosen on validation documents. Where none keeps it there, the one of the best nDCG@5 is taken. All
    figures are of test; differences, ours less the hybrid's, are paired by document, with 95 % intervals.
    """
    kept_P = [_mean(_ndcg(_at(blend.validation, bias, raised))) for bias in BIASES]
    rows = []
    for added in ADDED:
        wanted = _mean(_ndcg(_at(hybrid.validation, added, np.add)))
        bias = choose_bias(kept_P, wanted)
        ours, theirs = _at(blend.test, bias, raised), _at(hybrid.test, added, np.add)
        row: dict[str, Any] = {"added": added, "bias": bias}
        for axis, values in (("nDCG@5", _ndcg), ("ZSR@10", lambda point: _zsr(point, unseen_L))):
            own_B, other_B = values(ours), values(theirs)
            paired = metrics.paired_difference(own_B, other_B, blend.test.group_B, seed=seed)
            row[axis] = {
                "blend": _mean(own_B),
                "hybrid": _mean(other_B),
                "difference": [paired.value, paired.low, paired.high],
            }
        rows.append(row)
    return rows


def choose_bias(ndcg_P: Sequence[float], wanted: float) -> float:
    """The highest of `BIASES` whose nDCG@5 is as much as wanted; else the one whose is highest."""
    enough = [point for point, value in enumerate(ndcg_P) if value >= wanted]
    return BIASES[enough[-1] if enough else int(np.argmax(ndcg_P))]


def hybrid_of(
    linear: Tagger, frozen: Tagger, source: SourceSettings, seed: int
) -> Callable[[metrics.Ranked, metrics.Ranked], metrics.Ranked]:
    """A function from what both members rank, by `gather` with details, to the hybrid's log odds.

    Args:
        linear: scores seen labels.
        frozen: scores unseen labels.
        source: its validation documents calibrate both.
        seed: of the labels that stand in for unseen ones.
    """
    texts, gold = _validation(linear, source)
    trained_L = linear.train_count_L > 0
    pseudo_J = draw_pseudo([linear, frozen], linear.train_count_L, linear.labels.predictable_L, seed)
    of_seen = fit_curve(*_pairs(linear, texts, gold, trained_L))
    line = fit_platt(*_pairs(frozen, texts, gold, spread(pseudo_J, len(linear.labels))))
    assert line is not None, "the frozen member's cosines say nothing"

    def join(of_linear: metrics.Ranked, of_frozen: metrics.Ranked) -> metrics.Ranked:
        seen, unseen = of_linear.seen, of_frozen.unseen
        return of_linear._replace(
            seen=_scored(seen, of_seen.odds(seen.score_BK)),
            unseen=_scored(unseen, line.slope * unseen.score_BK + line.offset),
        )

    return join


class _Point(NamedTuple):
    """Documents as a point of a curve ranks them."""

    scores: Scores
    ranked: metrics.Ranked


def _at(ranked: metrics.Ranked, point: float, raise_by: Any) -> _Point:
    found_BK = ranked.unseen.label_BK != PAD
    unseen = _scored(ranked.unseen, raise_by(np.where(found_BK, ranked.unseen.score_BK, 0), point))
    return _Point(merge_disjoint(ranked.seen, unseen, DEPTH), ranked)


def _ndcg(point: _Point) -> np.ndarray:
    return np.where(point.ranked.in_ranking_B, metrics.ndcg_at(point.scores, point.ranked.gold, 5), np.nan)


def _zsr(point: _Point, unseen_L: np.ndarray) -> np.ndarray:
    ranked = point.ranked
    measured_B = ranked.in_zero_shot_B & (metrics.count_gold(ranked.gold[:, unseen_L]) > 0)
    return np.where(measured_B, metrics.zsr_at(point.scores, ranked.gold, unseen_L, 10), np.nan)


def _mean(value_B: np.ndarray) -> float:
    return float(np.nanmean(value_B))


def _scored(scores: Scores, score_BK: np.ndarray) -> Scores:
    found_BK = scores.label_BK != PAD
    return Scores(scores.label_BK, np.where(found_BK, score_BK, -np.inf).astype(np.float32))


def _validation(tagger: Tagger, source: SourceSettings) -> tuple[list[str], sp.csr_matrix]:
    texts, lists = [], []
    for chunk in read_documents(Store(), source):
        for one in chunk.documents.select(["text", "labels", "split"]).to_pylist():
            if one["split"] == source.validation_split:
                texts.append(one["text"])
                lists.append(one["labels"])
    return texts, gold_matrix(lists, tagger.labels.index)[0]


def _pairs(
    tagger: Tagger, texts: list[str], gold: sp.csr_matrix, allowed_L: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    scores = tagger.search(tagger.encode(texts), CANDIDATES, allowed_L)
    found_BK = scores.label_BK != PAD
    return scores.score_BK[found_BK], metrics.hits(scores, gold)[found_BK]
