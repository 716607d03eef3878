"""Precision, recall and nDCG of a ranking, document by document.

Gold is a CSR matrix (B, L), bool or numeric; every stored value other than 0 is a gold label, once however
often it is stored. A document without gold has no value (nan): `mean_defined` leaves it out and `count_gold`
lets the caller count it. Places that a ranking does not fill (`PAD`, or K < k) are misses.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from raytagger.metrics.ratio import DoubleArray, Ratio
from raytagger.schema import PAD, BoolArray, Scores


def hits(scores: Scores, gold: csr_matrix, k: int | None = None) -> BoolArray:
    """Which of the first `k` places of a ranking hold a gold label.

    Args:
        scores: (B, K), no label twice in a row.
        gold: CSR (B, L).
        k: how many places to look at, at least 1; all K by default.

    Returns:
        bool (B, min(k, K)); False where `PAD`.

    Raises:
        ValueError: the numbers of documents differ, or `k` is below 1.
        IndexError: a label is outside the gold matrix.
    """
    n_documents = dimensions(gold)[0]
    if len(scores) != n_documents:
        raise ValueError(f"scores for {len(scores)} documents, gold for {n_documents}; they must agree")
    if k is not None and k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    label_BK = scores.label_BK[:, :k]
    hit_BK = np.zeros(label_BK.shape, dtype=np.bool_)
    filled_BK = label_BK > PAD
    if filled_BK.any():
        hit_BK[filled_BK] = np.asarray(positives(gold)[np.nonzero(filled_BK)[0], label_BK[filled_BK]]).ravel()
    return hit_BK


def precision_at(scores: Scores, gold: csr_matrix, k: int) -> DoubleArray:
    """Gold labels among the first `k`, over `k`; float64 (B,), nan without gold."""
    hit_B = hits(scores, gold, k).sum(axis=1, dtype=np.float64)
    return np.where(count_gold(gold) > 0, hit_B / k, np.nan)


def recall_at(scores: Scores, gold: csr_matrix, k: int) -> DoubleArray:
    """Gold labels among the first `k`, over all gold labels; float64 (B,), nan without gold."""
    hit_B = hits(scores, gold, k).sum(axis=1, dtype=np.float64)
    return Ratio(hit_B, count_gold(gold).astype(np.float64)).per_document()


def ndcg_at(scores: Scores, gold: csr_matrix, k: int) -> DoubleArray:
    """Discounted gain of the first `k` places over the best possible; float64 (B,), nan without gold.

    Binary gains, discount 1 / log2(place + 1), the ideal cut at min(k, number of gold labels).

    Source: Järvelin and Kekäläinen 2002, as in the XMC repository's evaluation.
    """
    hit_BK = hits(scores, gold, k)
    return Ratio(hit_BK @ discounts(hit_BK.shape[1]), ideal_dcg(gold, k)).per_document()


def dimensions(gold: csr_matrix) -> tuple[int, int]:
    """Documents and labels of a gold matrix; scipy's own attribute has no type."""
    return cast("tuple[int, int]", gold.shape)


def positives(gold: csr_matrix) -> csr_matrix:
    """Gold as a bool CSR matrix without stored zeros and duplicates, the same object where it already is."""
    if gold.dtype == np.bool_ and gold.has_canonical_format and gold.data.all():
        return gold
    clean = csr_matrix((gold.data != 0, gold.indices, gold.indptr), shape=gold.shape, copy=True)
    clean.sum_duplicates()
    clean.eliminate_zeros()
    return clean


def count_gold(gold: csr_matrix) -> npt.NDArray[np.int64]:
    """Gold labels of each document, int64 (B,)."""
    return np.diff(positives(gold).indptr).astype(np.int64)


def discounts(n_places: int) -> DoubleArray:
    """1 / log2(place + 1) for the places 1, 2, …; float64 (n_places,)."""
    return 1.0 / np.log2(np.arange(2, n_places + 2, dtype=np.float64))


def ideal_dcg(gold: csr_matrix, k: int) -> DoubleArray:
    """The discounted binary gain of a perfect ranking cut at `k`; float64 (B,), 0 without gold."""
    up_to = np.concatenate([[0.0], np.cumsum(discounts(k))])
    return up_to[np.minimum(count_gold(gold), k)]
