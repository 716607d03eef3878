"""The best k of many scores, exactly, with ties broken by the smaller index."""

from __future__ import annotations

import numpy as np
from numba import njit

from raytagger.schema import PAD, BoolArray, FloatArray, IntArray, Scores

FEW = 128  # so many are kept in order as they come; of more all scores are sorted
BLOCK = 64  # scores that are looked at together: few blocks have one that is kept
EVERY = np.zeros(0, bool)  # no label is left out


def top_k(score_BL: FloatArray, k: int, first_label: int = 0) -> Scores:
    """The k best of each row.

    `-inf` means "not a candidate" and becomes `PAD`; NaN is not allowed.

    Args:
        score_BL: float32 (B, L).
        k: how many; fewer than k columns are padded.
        first_label: the label index of column 0.
    """
    rows, columns = score_BL.shape
    kept = min(k, columns)
    if kept <= FEW:
        best = nothing(rows, kept)
        offer(score_BL, first_label, best)
        return _padded(best, rows, k)
    kept_BL = _best(score_BL, kept)
    column_BK = np.nonzero(kept_BL)[1].reshape(rows, kept)
    score_BK = np.take_along_axis(score_BL, column_BK, axis=1)
    # Columns come in ascending order, so that a stable sort leaves ties with the smaller index first.
    order_BK = np.argsort(-score_BK, axis=1, kind="stable")
    score_BK = np.take_along_axis(score_BK, order_BK, axis=1)
    label_BK = (np.take_along_axis(column_BK, order_BK, axis=1) + first_label).astype(np.int32)
    label_BK[score_BK == -np.inf] = PAD
    return _padded(Scores(label_BK, score_BK), rows, k)


def nothing(rows: int, k: int) -> Scores:
    """A result without any label."""
    # np.full takes three times as long for the one row of a single request.
    label_BK, score_BK = np.empty((rows, k), np.int32), np.empty((rows, k), np.float32)
    label_BK.fill(PAD)
    score_BK.fill(-np.inf)
    return Scores(label_BK, score_BK)


def offer(score_BL: FloatArray, first_label: int, best: Scores, allowed_L: BoolArray = EVERY) -> None:
    """Puts labels that are better than what was kept so far in their places.

    Args:
        score_BL: float32 (B, L); `-inf` is not a candidate.
        first_label: the label index of column 0, larger than every label that was kept so far.
        best: (B, k), in order; changed.
        allowed_L: bool (L,), columns that may be kept; (0,) for all.
    """
    if best.label_BK.size:
        score_BL = np.ascontiguousarray(score_BL, np.float32)
        _offer_rows(score_BL, first_label, np.ascontiguousarray(allowed_L), best.label_BK, best.score_BK)


def merge_top_k(left: Scores, right: Scores, k: int) -> Scores:
    """The k best of two disjoint results of the same documents; every label of `left` has the smaller index."""
    label_BJ = np.concatenate([left.label_BK, right.label_BK], axis=1)
    score_BJ = np.concatenate([left.score_BK, right.score_BK], axis=1)
    # Both sides are sorted and `left` comes first, so that a stable sort keeps ties by index.
    order_BK = np.argsort(-score_BJ, axis=1, kind="stable")[:, :k]
    return Scores(np.take_along_axis(label_BJ, order_BK, axis=1), np.take_along_axis(score_BJ, order_BK, axis=1))


def merge_disjoint(left: Scores, right: Scores, k: int) -> Scores:
    """The k best of two results of the same documents that share no label, in whatever order of indices."""
    label_BJ = np.concatenate([left.label_BK, right.label_BK], axis=1)
    score_BJ = np.concatenate([left.score_BK, right.score_BK], axis=1)
    order_BK = np.lexsort((label_BJ, -score_BJ))[:, :k]  # by the last key first
    return Scores(np.take_along_axis(label_BJ, order_BK, axis=1), np.take_along_axis(score_BJ, order_BK, axis=1))


def _best(score_BL: FloatArray, kept: int) -> BoolArray:
    """Bool (B, L), True for exactly `kept` places a row."""
    columns = score_BL.shape[1]
    if kept == columns:
        return np.ones(score_BL.shape, bool)
    cut_B1 = np.partition(score_BL, columns - kept, axis=1)[:, columns - kept, None]
    above_BL = score_BL > cut_B1
    tied_BL = score_BL == cut_B1
    room_B1 = kept - above_BL.sum(axis=1, keepdims=True)
    crowded = np.flatnonzero(tied_BL.sum(axis=1) > room_B1[:, 0])
    tied_BL[crowded] &= np.cumsum(tied_BL[crowded], axis=1, dtype=np.int32) <= room_B1[crowded]
    return above_BL | tied_BL


def _padded(scores: Scores, rows: int, k: int) -> Scores:
    missing = k - scores.label_BK.shape[1]
    if missing <= 0:
        return scores
    return Scores(
        np.concatenate([scores.label_BK, np.full((rows, missing), PAD, np.int32)], axis=1),
        np.concatenate([scores.score_BK, np.full((rows, missing), -np.inf, np.float32)], axis=1),
    )


@njit(cache=True, nogil=True)
def offer_row(
    score_L: FloatArray, first_label: int, allowed_L: BoolArray, label_K: IntArray, score_K: FloatArray
) -> None:
    """One document's scores, see `offer`."""
    last = len(score_K) - 1
    for start in range(0, len(score_L), BLOCK):
        stop, cut, better = min(start + BLOCK, len(score_L)), score_K[last], 0
        for column in range(start, stop):  # many at once
            better += score_L[column] > cut
        if not better:
            continue
        for column in range(start, stop):
            score = score_L[column]
            if score > score_K[last] and (len(allowed_L) == 0 or allowed_L[column]):
                place = last
                while place > 0 and score > score_K[place - 1]:
                    label_K[place], score_K[place] = label_K[place - 1], score_K[place - 1]
                    place -= 1
                label_K[place], score_K[place] = first_label + column, score


@njit(cache=True, nogil=True)
def _offer_rows(
    score_BL: FloatArray, first_label: int, allowed_L: BoolArray, label_BK: IntArray, score_BK: FloatArray
) -> None:
    for row in range(len(score_BL)):
        offer_row(score_BL[row], first_label, allowed_L, label_BK[row], score_BK[row])
