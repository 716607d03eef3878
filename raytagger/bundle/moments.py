"""The usual score of a label: mean and deviation of what a tagger gives it over documents of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from raytagger.bundle.features import take_rows
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.search import Scorer
from raytagger.search.exact import score_moments

FEWEST = 100  # documents that are looked at, however many labels there are
PAIRS_SCORED, PAIRS_SORTED = 200_000_000, 20_000_000  # of documents and labels, that are looked at at most


def some_of(features: Any, labels: int, pairs: int = PAIRS_SCORED) -> Any:
    """The features of the first documents, so many that `pairs` of these and of labels are looked at."""
    most = max(FEWEST, pairs // max(labels, 1))
    return take_rows(features, np.arange(min(len(features.cut_B), most)))


def moments_by_rank(
    rank: Callable[[Any, int, BoolArray], Scores], features: Any, label_J: np.ndarray, labels: int
) -> FloatArray:
    """What `Tagger.moments` gives, of whatever `Tagger.rank` names of L labels: float32 (2, J)."""
    if not len(label_J):
        return np.zeros((2, 0), np.float32)
    allowed_L = np.zeros(labels, bool)
    allowed_L[label_J] = True
    found = rank(some_of(features, len(label_J), PAIRS_SORTED), len(label_J), allowed_L)
    filled_BK = found.label_BK != PAD
    label_P, score_P = found.label_BK[filled_BK], found.score_BK[filled_BK].astype(np.float64)
    safe_L = np.maximum(np.bincount(label_P, minlength=labels), 1)
    mean_L = np.bincount(label_P, score_P, labels) / safe_L
    square_L = np.bincount(label_P, (score_P - mean_L[label_P]) ** 2, labels) / safe_L
    return _joined(mean_L[label_J], np.sqrt(square_L[label_J]))


def moments_by_score(
    scorers: Sequence[Scorer],
    known_B: BoolArray,
    named_J: BoolArray,
    scale: Callable[[FloatArray], FloatArray] = np.asarray,
) -> FloatArray:
    """The same from scores of every document and label: float32 (2, J).

    Args:
        scorers: as `search_exact` has them.
        known_B: bool (B,), documents that are not blank.
        named_J: bool (J,), the labels that are ever named; the scorers have these alone, in the same order.
        scale: from their mean to the score.
    """
    mean_J, deviation_J = np.zeros((2, len(named_J)))
    if known_B.any() and named_J.any():
        mean_J[named_J], deviation_J[named_J] = score_moments(scorers, known_B, int(named_J.sum()), scale)
    return _joined(mean_J, deviation_J)


def _joined(mean_J: np.ndarray, deviation_J: np.ndarray) -> FloatArray:
    return np.stack([mean_J, np.where(deviation_J > 0, deviation_J, 1)]).astype(np.float32)
