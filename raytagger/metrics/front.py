"""The front between seen and unseen labels: what a number added to all unseen labels' scores would give.

Seen and unseen scores of a trained tagger have an offset that says nothing about its knowledge. A single figure
hides the offset; the front over it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, vstack

from raytagger.metrics.ranking import ndcg_at
from raytagger.metrics.ratio import mean_defined
from raytagger.metrics.zeroshot import zsr_at
from raytagger.schema import PAD, BoolArray, Scores

FRONT_DEPTH = 10  # labels of each kind that nDCG@5 and ZSR@10 can depend on


class Ranked(NamedTuple):
    """What is kept of measured documents.

    Attributes:
        seen: the best seen labels, (B, `FRONT_DEPTH`).
        unseen: the best unseen labels, (B, `FRONT_DEPTH`).
        gold: bool CSR (B, L).
        in_ranking_B: bool (B,), documents of the ranking metrics.
        in_zero_shot_B: bool (B,), documents of the zero-shot metrics.
        group_B: groups of the bootstrap.
    """

    seen: Scores
    unseen: Scores
    gold: csr_matrix
    in_ranking_B: BoolArray
    in_zero_shot_B: BoolArray
    group_B: np.ndarray

    @staticmethod
    def concatenate(parts: Sequence[Ranked]) -> Ranked:
        """All documents of some parts."""
        return Ranked(
            Scores.concatenate([part.seen for part in parts]),
            Scores.concatenate([part.unseen for part in parts]),
            csr_matrix(vstack([part.gold for part in parts])),
            np.concatenate([part.in_ranking_B for part in parts]),
            np.concatenate([part.in_zero_shot_B for part in parts]),
            np.concatenate([part.group_B for part in parts]),
        )


class Point(NamedTuple):
    """A point of the front; None where undefined."""

    bias: float
    ndcg: float | None
    zsr: float | None


def merge_ranked(ranked: Ranked, bias: float = 0.0) -> Scores:
    """The best of all labels, (B, `FRONT_DEPTH`), after `bias` is added to unseen ones; ties by smaller index."""
    label = np.concatenate([ranked.seen.label_BK, ranked.unseen.label_BK], axis=1)
    score = np.concatenate([ranked.seen.score_BK, ranked.unseen.score_BK + np.float32(bias)], axis=1)
    score[label == PAD] = -np.inf
    order = np.lexsort((label, -score), axis=1)[:, : ranked.seen.label_BK.shape[1]]
    return Scores(np.take_along_axis(label, order, 1), np.take_along_axis(score, order, 1))


def front(ranked: Ranked, unseen_L: BoolArray, biases: Sequence[float]) -> list[Point]:
    """nDCG@5 and ZSR@10 for every bias."""
    points = []
    for bias in biases:
        merged = merge_ranked(ranked, bias)
        ndcg_B = ndcg_at(merged, ranked.gold, 5)[ranked.in_ranking_B]
        zsr_B = zsr_at(merged, ranked.gold, unseen_L, 10)[ranked.in_zero_shot_B]
        points.append(Point(float(bias), _defined(ndcg_B), _defined(zsr_B)))
    return points


def _defined(value_B: np.ndarray) -> float | None:
    value = mean_defined(value_B)
    return None if np.isnan(value) else value
