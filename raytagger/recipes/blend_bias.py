"""The unseen bias of a blend: how far unseen labels are raised, chosen on labels that members had to forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

from raytagger import metrics
from raytagger.bundle.blend import raised
from raytagger.bundle.panel import spread
from raytagger.schema import PAD, Scores
from raytagger.search.blend import Candidates, ranked
from raytagger.vectors import merge_disjoint

BIASES = (0.0, 0.1, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8)
HIDDEN_SHARE = 0.05  # of the seen labels are hidden at once, so that most of a document's labels stay seen
DEPTH = 10


class Both(NamedTuple):
    """Validation documents with both populations scored.

    Attributes:
        seen: candidates among seen labels.
        seen_odds_BC: their calibrated log odds.
        unseen: candidates among pseudo-unseen and unseen labels.
        unseen_odds_BC: their log odds.
        gold: bool CSR (B, L).
    """

    seen: Candidates
    seen_odds_BC: np.ndarray
    unseen: Candidates
    unseen_odds_BC: np.ndarray
    gold: sp.csr_matrix


class Point(NamedTuple):
    """What a bias gives on validation documents; None where undefined.

    Attributes:
        bias: tried.
        ndcg: nDCG@5 of all labels.
        zsr: ZSR@10 of hidden labels.
        error: calibration error of hidden labels among the first ten.
    """

    bias: float
    ndcg: float | None
    zsr: float | None
    error: float | None


def bias_curve(
    both: Both, pseudo_J: np.ndarray, unseen_J: np.ndarray, biases: Sequence[float] = BIASES
) -> list[Point]:
    """nDCG@5 and ZSR@10 of every bias, as means over groups of pseudo-unseen labels that are hidden in turn.

    Args:
        both: validation documents.
        pseudo_J: the pseudo-unseen labels.
        unseen_J: labels that are really unseen; they stand in the ranking as they will in use.
        biases: to be tried.
    """
    labels = both.gold.shape[1]  # pyright: ignore[reportOptionalSubscript] - scipy's own type
    seen_labels = labels - len(unseen_J)
    groups = np.array_split(pseudo_J, max(1, round(len(pseudo_J) / max(1.0, HIDDEN_SHARE * seen_labels))))
    return [_point(both, groups, unseen_J, bias) for bias in biases]


def choose_bias(curve: Sequence[Point], most_error: float, loss: float) -> float:
    """The largest bias that costs at most `loss` of the nDCG@5 at bias 0, and at most `most_error` in calibration.

    It is 0 where no hidden label could be measured.
    """
    start = curve[0].ndcg
    if start is None or all(point.zsr is None for point in curve):
        return 0.0
    fits = [
        point.bias
        for point in curve
        if (point.ndcg or 0.0) >= start - loss and (point.error is None or point.error <= most_error)
    ]
    return max(fits, default=0.0)


def merged(both: Both, hidden_J: np.ndarray, unseen_J: np.ndarray, bias: float, k: int) -> Scores:
    """The ranking when `hidden_J` are unseen: (B, k)."""
    labels = both.gold.shape[1]  # pyright: ignore[reportOptionalSubscript] - scipy's own type
    hidden_L, unseen_L = spread(hidden_J, labels), spread(np.concatenate([hidden_J, unseen_J]), labels)
    seen_BC = np.where(_among(both.seen, ~hidden_L), expit(both.seen_odds_BC), -np.inf)
    found_BC = np.where(_among(both.unseen, unseen_L), raised(expit(both.unseen_odds_BC), bias), -np.inf)
    return merge_disjoint(_ranked(both.seen, seen_BC, k), _ranked(both.unseen, found_BC, k), k)


def _point(both: Both, groups: Sequence[np.ndarray], unseen_J: np.ndarray, bias: float) -> Point:
    labels = both.gold.shape[1]  # pyright: ignore[reportOptionalSubscript] - scipy's own type
    ndcg, zsr, chance, right = [], [], [], []
    for hidden_J in groups:
        scores = merged(both, hidden_J, unseen_J, bias, DEPTH)
        hidden_L = spread(hidden_J, labels)
        ndcg.append(metrics.mean_defined(metrics.ndcg_at(scores, both.gold, 5)))
        zsr.append(metrics.zsr_at(scores, both.gold, hidden_L, 10))
        among_BK = hidden_L[np.maximum(scores.label_BK, 0)] & (scores.label_BK != PAD)
        chance.append(scores.score_BK[among_BK])
        right.append(metrics.hits(scores, both.gold)[among_BK])
    error = metrics.expected_calibration_error(np.concatenate(chance), np.concatenate(right))
    found = metrics.mean_defined(np.array(ndcg)), metrics.mean_defined(np.concatenate(zsr)), error
    return Point(bias, *(None if np.isnan(value) else float(value) for value in found))


def _among(candidates: Candidates, allowed_L: np.ndarray) -> np.ndarray:
    return allowed_L[np.maximum(candidates.label_BC, 0)] & (candidates.label_BC != PAD)


def _ranked(candidates: Candidates, value_BC: np.ndarray, k: int) -> Scores:
    """As `ranked`, where candidates of value -inf are none."""
    found = ranked(candidates, value_BC, k)
    return Scores(np.where(np.isneginf(found.score_BK), PAD, found.label_BK).astype(np.int32), found.score_BK)
