"""The plain hybrid, and a blend's curve over the bias beside its curve.

The plain hybrid ranks seen labels by a linear tagger and unseen ones by a frozen one, each calibrated on validation
documents, and adds a number to the log odds of unseen labels.
"""

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


class Front(NamedTuple):
    """Every document's nDCG@5 and ZSR@10 at each point of a curve, and the groups they belong to."""

    at: tuple[float, ...]
    ndcg_P: list[np.ndarray]
    zsr_P: list[np.ndarray]


def beside_hybrid(
    blend: metrics.Ranked, hybrid: metrics.Ranked, unseen_L: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """For each point of the hybrid, the blend's point that finds most unseen labels at the hybrid's nDCG@5 or more.

    Differences, ours less the hybrid's, are paired by document, with 95 % intervals.
    """
    ours, theirs = _front(blend, unseen_L, BIASES, raised), _front(hybrid, unseen_L, ADDED, np.add)
    ndcg_P = np.array([np.nanmean(one) for one in ours.ndcg_P])
    zsr_P = np.array([np.nanmean(one) for one in ours.zsr_P])
    rows = []
    for added, ndcg_B, zsr_B in zip(*theirs, strict=True):
        enough = np.flatnonzero(ndcg_P >= np.nanmean(ndcg_B))
        point = int(enough[np.argmax(zsr_P[enough])]) if len(enough) else int(np.argmax(ndcg_P))
        axes = (("nDCG@5", ours.ndcg_P[point], ndcg_B), ("ZSR@10", ours.zsr_P[point], zsr_B))
        row: dict[str, Any] = {"added": added, "bias": ours.at[point]}
        for axis, own_B, other_B in axes:
            paired = metrics.paired_difference(own_B, other_B, blend.group_B, seed=seed)
            row[axis] = {
                "blend": float(np.nanmean(own_B)),
                "hybrid": float(np.nanmean(other_B)),
                "difference": [paired.value, paired.low, paired.high],
            }
        rows.append(row)
    return rows


def hybrid_of(
    linear: Tagger,
    frozen: Tagger,
    evaluated: tuple[metrics.Ranked, metrics.Ranked],
    source: SourceSettings,
    seed: int,
) -> metrics.Ranked:
    """The hybrid's log odds of seen and unseen labels of documents that both members have ranked.

    Args:
        linear: scores seen labels.
        frozen: scores unseen labels.
        evaluated: what each ranks, by `gather` with details.
        source: its validation documents calibrate both.
        seed: of the labels that stand in for unseen ones.
    """
    texts, gold = _validation(linear, source)
    trained_L = linear.train_count_L > 0
    pseudo_J = draw_pseudo([linear, frozen], linear.train_count_L, linear.labels.predictable_L, seed)
    of_seen = fit_curve(*_pairs(linear, texts, gold, trained_L))
    line = fit_platt(*_pairs(frozen, texts, gold, spread(pseudo_J, len(linear.labels))))
    assert line is not None, "the frozen member's cosines say nothing"
    seen, unseen = evaluated[0].seen, evaluated[1].unseen
    return evaluated[0]._replace(
        seen=_scored(seen, of_seen.odds(seen.score_BK)),
        unseen=_scored(unseen, line.slope * unseen.score_BK + line.offset),
    )


def _front(ranked: metrics.Ranked, unseen_L: np.ndarray, at: tuple[float, ...], raise_by: Any) -> Front:
    zero_shot_B = ranked.in_zero_shot_B & (metrics.count_gold(ranked.gold[:, unseen_L]) > 0)
    ndcg, zsr = [], []
    for point in at:
        found_BK = ranked.unseen.label_BK != PAD
        unseen = _scored(ranked.unseen, raise_by(np.where(found_BK, ranked.unseen.score_BK, 0), point))
        scores = merge_disjoint(ranked.seen, unseen, DEPTH)
        ndcg.append(np.where(ranked.in_ranking_B, metrics.ndcg_at(scores, ranked.gold, 5), np.nan))
        zsr.append(np.where(zero_shot_B, metrics.zsr_at(scores, ranked.gold, unseen_L, 10), np.nan))
    return Front(at, ndcg, zsr)


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
