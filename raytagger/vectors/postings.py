"""Label texts as lists of labels a term: the labels of greatest cosine with a document, and no matrix of scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from numba import njit

from raytagger.schema import BoolArray, FloatArray, IntArray, Scores
from raytagger.vectors.terms import SparseRows
from raytagger.vectors.topk import EVERY, nothing, offer_row
from raytagger.vectors.words import read_only

COMMON = 0.2  # share of the labels that have a term from which it gets a row of its own


class Postings:
    """Rows of unit length, turned so that each term has its labels. Threads may share it.

    Args:
        label_LV: float32 CSR (L, V), unit rows or zero ones, over the terms that count.
        counts_V: bool (V,), the terms that count: those of documents that do not are passed over.
    """

    def __init__(self, label_LV: sp.csr_matrix, counts_V: BoolArray) -> None:
        turned = sp.csc_matrix(label_LV, dtype=np.float32)
        turned.sort_indices()
        self._labels = len(label_LV.indptr) - 1
        start_V1, label = np.asarray(turned.indptr, np.int64), np.asarray(turned.indices, np.int32)
        common = np.flatnonzero(np.diff(start_V1) > COMMON * self._labels)
        common_V = np.full(len(counts_V), -1, np.int32)
        common_V[common] = np.arange(len(common))
        weight_CL = np.ascontiguousarray(turned[:, common].T.toarray())
        self._lists = Lists(*map(read_only, (start_V1, label, turned.data, counts_V, common_V, weight_CL)))

    def best(self, rows: SparseRows, k: int, allowed_L: BoolArray | None = None) -> Scores:
        """The k labels of greatest cosine with each document; ties, and cosines of 0, go by the smaller index.

        Args:
            rows: B documents.
            k: labels a document; `PAD` where fewer are allowed.
            allowed_L: bool (L,), which labels may be answered; None for all.
        """
        found = nothing(len(rows.row_B1) - 1, k)
        row_B1, feature, value = (read_only(array) for array in (rows.row_B1, rows.feature, rows.value))
        allowed_L = read_only(EVERY if allowed_L is None else allowed_L)
        score_L = np.zeros(self._labels, np.float32)
        find_best(row_B1, feature, value, self._lists, allowed_L, score_L, found.label_BK, found.score_BK)
        return found

    @classmethod
    def warm(cls) -> None:
        """Compiles, so that the first document does not wait."""
        rows = SparseRows(np.zeros(2, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), 1)
        cls(sp.csr_matrix((1, 1), dtype=np.float32), np.ones(1, bool)).best(rows, 1)


class Lists(NamedTuple):
    """Term v's labels and their weights are `start_V1[v] : start_V1[v + 1]` of `label` and `weight`.

    The C most common terms have a row of all labels, too: adding that is faster than going through a long list.
    """

    start_V1: npt.NDArray[np.int64]
    label: IntArray
    weight: FloatArray
    counts_V: BoolArray
    common_V: IntArray
    weight_CL: FloatArray


@njit(cache=True, nogil=True)
def find_best(
    row_B1: IntArray,
    feature: IntArray,
    value: FloatArray,
    lists: Lists,
    allowed_L: BoolArray,
    score_L: FloatArray,
    label_BK: IntArray,
    score_BK: FloatArray,
) -> None:
    """Adds up the scores of one document after the other, and keeps the best.

    Args:
        row_B1: CSR rows of documents, with `feature` and `value`.
        lists: the labels' rows.
        allowed_L: (0,) for all labels.
        score_L: zero, before and after.
        label_BK: is filled where labels are allowed.
        score_BK: as `label_BK`, and -inf before.
    """
    for row in range(len(row_B1) - 1):
        squares = _add_up(feature, value, row_B1[row], row_B1[row + 1], lists, score_L)
        offer_row(score_L, 0, allowed_L, label_BK[row], score_BK[row])
        score_L[:] = 0
        scale = np.float32(1 / np.sqrt(squares)) if squares > 0 else np.float32(1)
        for place in range(score_BK.shape[1]):
            score_BK[row, place] *= scale


@njit(cache=True, nogil=True)
def _add_up(feature: IntArray, value: FloatArray, begin: int, end: int, lists: Lists, score_L: FloatArray) -> float:
    """Adds one document's products to the labels' scores; gives the squared length of its terms that count."""
    start_V1, label, weight, counts_V, common_V, weight_CL = lists
    squares = 0.0
    for place in range(begin, end):
        term, x = feature[place], value[place]
        if not counts_V[term]:
            continue
        squares += np.float64(x) * x
        if common_V[term] >= 0:
            weight_L = weight_CL[common_V[term]]
            for candidate in range(len(score_L)):
                score_L[candidate] += x * weight_L[candidate]
        else:
            for entry in range(start_V1[term], start_V1[term + 1]):
                score_L[label[entry]] += x * weight[entry]
    return squares
