"""Propensity-scored precision and nDCG, which weigh a hit by how rare its label is.

The metrics over a corpus are normalised: the sum of what the rankings gained over the sum of what the best
rankings would have gained, so a perfect ranking has 1. They are not means of per-document values; the
`…_gains` functions give each document's share of both sums, which is what a bootstrap resamples.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from raytagger.metrics.ranking import dimensions, discounts, hits, ideal_dcg, positives
from raytagger.metrics.ratio import DoubleArray, Ratio
from raytagger.schema import Scores


def propensities(count_L: npt.ArrayLike, n_documents: int, a: float = 0.55, b: float = 1.5) -> DoubleArray:
    """How likely a relevant label is to have been tagged at all, from its number of training documents.

    p = 1 / (1 + C exp(-a log(count + b))), C = (log n_documents - 1) (b + 1)^a.

    Args:
        count_L: (L,), training documents of each label; 0 for labels without any.
        n_documents: training documents.
        a: 0.55 unless the data set has its own (Wikipedia 0.5, Amazon 0.6).
        b: 1.5 likewise (Wikipedia 0.4, Amazon 2.6).

    Returns:
        float64 (L,), in (0, 1].

    Source: Jain, Prabhu and Varma 2016, the propensity model. Differs: C is at least 0, so that up to two
        documents, where the model would give values outside (0, 1], all propensities are 1.
    """
    c = max(math.log(max(n_documents, 1)) - 1.0, 0.0) * (b + 1.0) ** a
    return 1.0 / (1.0 + c * (np.asarray(count_L, dtype=np.float64) + b) ** -a)


def psp_gains(scores: Scores, gold: csr_matrix, propensity_L: DoubleArray, k: int) -> Ratio:
    """Each document's propensity-scored precision at `k`, and the best that any ranking could have.

    Numerator: sum of 1 / propensity over the hits among the first `k`, over `k`. Denominator: the same for
    the gold labels of largest 1 / propensity. Both are 0 for a document without gold.

    Raises:
        ValueError: `propensity_L` is not (L,); or as `hits`.
    """
    hit_BK = hits(scores, gold, k)
    gain_BK = _gain(hit_BK, scores, gold, propensity_L)
    place_K = np.ones(k)
    return Ratio(gain_BK @ place_K[: hit_BK.shape[1]] / k, _best(gold, propensity_L, place_K) / k)


def psndcg_gains(scores: Scores, gold: csr_matrix, propensity_L: DoubleArray, k: int) -> Ratio:
    """Each document's propensity-scored nDCG at `k`, and the best that any ranking could have.

    As `psp_gains` with discounts 1 / log2(place + 1) and, in place of `k`, the document's ideal binary DCG.

    Raises:
        ValueError: `propensity_L` is not (L,); or as `hits`.
    """
    hit_BK = hits(scores, gold, k)
    gain_BK = _gain(hit_BK, scores, gold, propensity_L)
    place_K = discounts(k)
    # A document without gold has 0 above the line; dividing it by 1 keeps it 0.
    ideal_B = np.where(np.diff(positives(gold).indptr) > 0, ideal_dcg(gold, k), 1.0)
    return Ratio(
        gain_BK @ place_K[: hit_BK.shape[1]] / ideal_B,
        _best(gold, propensity_L, place_K) / ideal_B,
    )


def psp_at(scores: Scores, gold: csr_matrix, propensity_L: DoubleArray, k: int) -> float:
    """Normalised PSP@k, a fraction of the best possible; nan if no document has gold.

    Source: Jain, Prabhu and Varma 2016; normalised as in the XMC repository's evaluation.
    """
    return psp_gains(scores, gold, propensity_L, k).total()


def psndcg_at(scores: Scores, gold: csr_matrix, propensity_L: DoubleArray, k: int) -> float:
    """Normalised PSnDCG@k, a fraction of the best possible; nan if no document has gold.

    Source: Jain, Prabhu and Varma 2016; normalised as in the XMC repository's evaluation.
    """
    return psndcg_gains(scores, gold, propensity_L, k).total()


def _gain(
    hit_BK: npt.NDArray[np.bool_], scores: Scores, gold: csr_matrix, propensity_L: DoubleArray
) -> DoubleArray:
    if propensity_L.shape != dimensions(gold)[1:]:
        raise ValueError(f"propensities {propensity_L.shape}; expected one a label, {dimensions(gold)[1:]}")
    gain_BK = np.zeros(hit_BK.shape)
    gain_BK[hit_BK] = 1.0 / propensity_L[scores.label_BK[:, : hit_BK.shape[1]][hit_BK]]
    return gain_BK


def _best(gold: csr_matrix, propensity_L: DoubleArray, place_K: DoubleArray) -> DoubleArray:
    """What the gold labels gain, float64 (B,), when sorted by 1 / propensity into the places' weights."""
    relevant = positives(gold)
    n_documents = dimensions(relevant)[0]
    row_P = np.repeat(np.arange(n_documents), np.diff(relevant.indptr))  # P: pairs of document and gold label
    gain_P = 1.0 / propensity_L[relevant.indices]
    gain_P = gain_P[np.lexsort((-gain_P, row_P))]  # the rows stay where they are
    place_P = np.arange(len(row_P)) - relevant.indptr[row_P]
    kept_P = place_P < len(place_K)
    return np.bincount(
        row_P[kept_P], weights=gain_P[kept_P] * place_K[place_P[kept_P]], minlength=n_documents
    ).astype(np.float64)
