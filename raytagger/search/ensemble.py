"""Several results for the same documents as one: trees of other seeds, or of other features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from raytagger.errors import SettingsError
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.search.exact import nothing
from raytagger.vectors import top_k

RANKED = 100  # places that count


def _same(score_BK: FloatArray, found_BK: BoolArray) -> FloatArray:
    return np.where(found_BK, score_BK, np.float32(0))


def _lowest(score_BK: FloatArray, found_BK: BoolArray) -> FloatArray:
    """float32 (B, 1), what a label gets that a result lacks: 0, or the result's lowest score where that is less."""
    return np.min(score_BK, axis=1, keepdims=True, initial=0, where=found_BK).astype(np.float32)


def _softmax(score_BK: FloatArray, found_BK: BoolArray) -> FloatArray:
    top_B1 = np.max(score_BK, axis=1, keepdims=True, initial=-np.inf)
    odds_BK = np.exp(np.where(found_BK, score_BK - np.where(np.isfinite(top_B1), top_B1, 0), -np.inf))
    return odds_BK / np.maximum(odds_BK.sum(axis=1, keepdims=True), 1e-30)


def _sigmoid(score_BK: FloatArray, found_BK: BoolArray) -> FloatArray:
    return np.where(found_BK, 1 / (1 + np.exp(-np.where(found_BK, score_BK, 0))), 0).astype(np.float32)


def _rank(score_BK: FloatArray, found_BK: BoolArray) -> FloatArray:
    place_K = np.arange(score_BK.shape[1])
    return np.where(found_BK, np.maximum(1 - place_K / RANKED, 0), 0).astype(np.float32)


COMBINATIONS: dict[str, Callable[[FloatArray, BoolArray], FloatArray]] = {
    "average": _same,
    "softmax_average": _softmax,
    "sigmoid_average": _sigmoid,
    "rank_average": _rank,
}
"""What each result's scores become before they are averaged; a label that a result lacks adds nothing."""


def check_combination(how: str) -> None:
    """Refuses an unknown way.

    Raises:
        SettingsError: `how` is not one of `COMBINATIONS`.
    """
    if how not in COMBINATIONS:
        raise SettingsError("tree.combine", got=how, expected=", ".join(COMBINATIONS))


def average(results: Sequence[Scores], how: str, k: int) -> Scores:
    """The k best labels by the mean of what the results say.

    Args:
        results: at least one, of the same documents; deeper than k, so that labels near the cut meet.
        how: `average` of the scores as they are (a label that a result lacks counts 0 there, or the result's lowest
            score where that is less), `softmax_average`, `sigmoid_average`, or `rank_average`, in which the first
            of a hundred places counts 1 and the last 0.01.
        k: labels kept.

    Raises:
        SettingsError: `how` is unknown.

    Source: MatchXML, section IV (ensembles of three models).
    """
    check_combination(how)
    said = [COMBINATIONS[how](found.score_BK, found.label_BK != PAD) for found in results]
    # Sums over what lies above each result's floor, so that a label which a result lacks gets the floor.
    floors = [_lowest(part, found.label_BK != PAD) for part, found in zip(said, results, strict=True)]
    above = [(part - floor) / np.float32(len(results)) for part, floor in zip(said, floors, strict=True)]
    best = sum_by_label(
        np.concatenate([found.label_BK for found in results], axis=1), np.concatenate(above, axis=1), k
    )
    return Scores(best.label_BK, best.score_BK + np.mean(floors, axis=0))


def sum_by_label(label_BJ: np.ndarray, score_BJ: FloatArray, k: int) -> Scores:
    """The k labels of greatest summed score in each row; `PAD` entries count for nothing."""
    rows, places = label_BJ.shape
    if not rows or not places:
        return nothing(rows, k)
    order_BJ = np.argsort(label_BJ, axis=1, kind="stable")
    label_BJ = np.take_along_axis(label_BJ, order_BJ, axis=1)
    score_BJ = np.take_along_axis(score_BJ, order_BJ, axis=1)
    first_BJ = np.ones(label_BJ.shape, bool)
    first_BJ[:, 1:] = label_BJ[:, 1:] != label_BJ[:, :-1]
    sum_G = np.add.reduceat(score_BJ.ravel(), np.flatnonzero(first_BJ.ravel()))
    total_BJ = np.full(label_BJ.shape, -np.inf, np.float32)
    total_BJ[first_BJ] = sum_G
    total_BJ[label_BJ == PAD] = -np.inf
    best = top_k(total_BJ, k)  # labels stand in ascending order, so that ties go to the smaller one
    label_BK = np.take_along_axis(label_BJ, np.maximum(best.label_BK, 0), axis=1).astype(np.int32)
    return Scores(np.where(best.label_BK == PAD, np.int32(PAD), label_BK), best.score_BK)
