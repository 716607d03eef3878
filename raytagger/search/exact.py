"""Exact search: every label is scored, a block at a time, so that no N x L matrix is ever built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Protocol, cast

import numpy as np
import scipy.sparse as sp

from raytagger.schema import BoolArray, FloatArray, Scores
from raytagger.vectors import merge_top_k, top_k
from raytagger.vectors.topk import FEW, nothing, offer

ROWS = 256
LABELS = 16384


class Scorer(Protocol):
    """Scores any block of documents against any block of labels."""

    def block(self, rows: slice, labels: slice) -> FloatArray:
        """float32 (rows, labels)."""
        ...


class DenseScorer:
    """Inner products; cosines where both sides have unit length."""

    def __init__(self, doc_BD: FloatArray, label_LD: FloatArray) -> None:
        self._doc_BD, self._label_LD = doc_BD, label_LD

    def block(self, rows: slice, labels: slice) -> FloatArray:
        """See `Scorer.block`."""
        return self._doc_BD[rows] @ self._label_LD[labels].T


class SparseLabels:
    """A sparse label matrix cut into blocks once, each transposed to how it is multiplied.

    Args:
        label_LV: CSR (L, V).
    """

    def __init__(self, label_LV: sp.csr_matrix) -> None:
        self.label_LV = label_LV
        starts = range(0, rows(label_LV), LABELS)
        self.block_VL = {start: label_LV[start : start + LABELS].T.tocsr() for start in starts}

    @cached_property
    def used_V(self) -> BoolArray:
        """Bool (V,), terms that some label has."""
        used_V = np.zeros(cast("tuple[int, int]", self.label_LV.shape)[1], bool)
        used_V[self.label_LV.indices] = True
        return used_V


def has_any(doc_BV: sp.csr_matrix, some_V: BoolArray) -> BoolArray:
    """Bool (B,), rows with an entry in one of some columns, bool (V,)."""
    count = np.cumsum(np.append(False, some_V[doc_BV.indices]))
    return count[doc_BV.indptr[1:]] != count[doc_BV.indptr[:-1]]


def rows(matrix: sp.csr_matrix) -> int:
    """How many rows a sparse matrix has; scipy's own type of `shape` is looser."""
    return len(matrix.indptr) - 1


class SparseScorer:
    """Inner products of sparse rows."""

    def __init__(self, doc_BV: sp.csr_matrix, labels: SparseLabels) -> None:
        self._doc_BV, self._labels = doc_BV, labels

    def block(self, rows: slice, labels: slice) -> FloatArray:
        """See `Scorer.block`."""
        return (self._doc_BV[rows] @ self._labels.block_VL[labels.start]).toarray()


class ConstantScorer:
    """The same scores for every document, such as the labels' popularity."""

    def __init__(self, documents: int, score_L: FloatArray) -> None:
        self._documents, self._score_L = documents, score_L

    def block(self, rows: slice, labels: slice) -> FloatArray:
        """See `Scorer.block`."""
        count = len(range(*rows.indices(self._documents)))
        return np.repeat(self._score_L[None, labels], count, axis=0)


def search_exact(scorers: Sequence[Scorer], documents: int, allowed_L: BoolArray, k: int) -> Scores:
    """The k best labels of each document by the mean of the scorers.

    Memory is bounded by one block of `ROWS` x `LABELS`, whatever N and L.

    Args:
        scorers: at least one.
        documents: B, how many rows they score.
        allowed_L: bool (L,), which labels may be answered.
        k: how many labels; `PAD` where fewer are allowed.
    """
    parts = [
        _search_rows(scorers, slice(start, min(start + ROWS, documents)), allowed_L, k)
        for start in range(0, documents, ROWS)
    ]
    return Scores.concatenate(parts) if parts else nothing(0, k)


def score_moments(
    scorers: Sequence[Scorer],
    known_B: BoolArray,
    labels: int,
    scale: Callable[[FloatArray], FloatArray] = np.asarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each label's score over documents: float64 (L,) each.

    Nothing is sorted, which of many labels takes far longer. The deviation of equal scores is exactly 0.

    Args:
        scorers: as `search_exact` has them.
        known_B: bool (B,), the documents that count, one at least.
        labels: L.
        scale: from the mean of the scorers to the score; by default that is the score.
    """
    mean_L, deviation_L = np.zeros((2, labels))
    count, first = int(known_B.sum()), int(np.argmax(known_B))
    for some in _label_blocks(labels):
        shift_L = scale(_block(scorers, slice(first, first + 1), some))[0].astype(np.float64)
        total_L, square_L = np.zeros((2, len(shift_L)))
        for start in range(0, len(known_B), ROWS):
            rows = slice(start, start + ROWS)
            away_BL = scale(_block(scorers, rows, some))[known_B[rows]] - shift_L
            total_L += away_BL.sum(axis=0)
            square_L += (away_BL**2).sum(axis=0)
        mean_L[some] = shift_L + total_L / count
        deviation_L[some] = np.sqrt(np.maximum(square_L / count - (total_L / count) ** 2, 0))
    return mean_L, deviation_L


def _search_rows(scorers: Sequence[Scorer], rows: slice, allowed_L: BoolArray, k: int) -> Scores:
    best = nothing(rows.stop - rows.start, k)
    for labels in _label_blocks(len(allowed_L)):
        score_BL = _block(scorers, rows, labels)
        if k <= FEW:
            offer(score_BL, labels.start, best, allowed_L[labels])
        else:
            score_BL = np.where(allowed_L[labels], score_BL, np.float32(-np.inf))
            best = merge_top_k(best, top_k(score_BL, k, labels.start), k)
    return best


def _label_blocks(labels: int) -> list[slice]:
    return [slice(start, min(start + LABELS, labels)) for start in range(0, labels, LABELS)]


def _block(scorers: Sequence[Scorer], rows: slice, labels: slice) -> FloatArray:
    """The mean of the scorers, float32 (rows, labels)."""
    score_BL = scorers[0].block(rows, labels)
    for scorer in scorers[1:]:
        score_BL = score_BL + scorer.block(rows, labels)
    return score_BL / np.float32(len(scorers)) if len(scorers) > 1 else score_BL
