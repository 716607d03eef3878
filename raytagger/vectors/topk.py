"""The best k of many scores, exactly, with ties broken by the smaller index."""

from __future__ import annotations

import numpy as np

from raytagger.schema import PAD, BoolArray, FloatArray, Scores


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
    kept_BL = _best(score_BL, kept)
    column_BK = np.nonzero(kept_BL)[1].reshape(rows, kept)
    score_BK = np.take_along_axis(score_BL, column_BK, axis=1)
    # Columns come in ascending order, so that a stable sort leaves ties with the smaller index first.
    order_BK = np.argsort(-score_BK, axis=1, kind="stable")
    score_BK = np.take_along_axis(score_BK, order_BK, axis=1)
    label_BK = (np.take_along_axis(column_BK, order_BK, axis=1) + first_label).astype(np.int32)
    label_BK[score_BK == -np.inf] = PAD
    return _padded(Scores(label_BK, score_BK), rows, k)


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
