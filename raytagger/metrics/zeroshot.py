"""How well labels are found that the tagger never saw in training.

ZSR mixes knowledge with the offset between seen and unseen scores and can be gamed by that offset; UR has no
such offset. Report ZSR with UR, nDCG and `chance_zsr`, never alone.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from raytagger.metrics.ranking import dimensions, positives, recall_at
from raytagger.metrics.ratio import DoubleArray
from raytagger.schema import PAD, BoolArray, Scores


def zsr_at(scores: Scores, gold: csr_matrix, unseen_L: BoolArray, k: int) -> DoubleArray:
    """Unseen gold labels among the first `k` of the full ranking, over the document's unseen gold labels.

    Returns:
        float64 (B,); nan for documents without an unseen gold label.

    Raises:
        ValueError: `unseen_L` is not bool (L,); or as `hits`.
    """
    return recall_at(scores, unseen_gold(gold, unseen_L), k)


def ur_at(unseen_scores: Scores, gold: csr_matrix, unseen_L: BoolArray, k: int) -> DoubleArray:
    """The same as `zsr_at` where only unseen labels were ranked.

    Returns:
        float64 (B,); nan for documents without an unseen gold label.

    Raises:
        ValueError: a seen label was ranked, in whatever place; or as `zsr_at`.
    """
    only_unseen = unseen_gold(gold, unseen_L)
    ranked_P = unseen_scores.label_BK[unseen_scores.label_BK > PAD]
    seen_P = ranked_P[~unseen_L[ranked_P]]
    if len(seen_P):
        raise ValueError(f"seen labels among the ranked, such as {seen_P[0]}; only unseen ones may be ranked")
    return recall_at(unseen_scores, only_unseen, k)


def unseen_gold(gold: csr_matrix, unseen_L: BoolArray) -> csr_matrix:
    """The gold pairs whose label is unseen: bool CSR (B, L); its `nnz` is the number of such pairs.

    Raises:
        ValueError: `unseen_L` is not bool (L,).
    """
    if unseen_L.dtype != np.bool_ or unseen_L.shape != dimensions(gold)[1:]:
        raise ValueError(f"unseen is {unseen_L.dtype} {unseen_L.shape}; expected bool {dimensions(gold)[1:]}")
    relevant = positives(gold)
    return positives(
        csr_matrix((unseen_L[relevant.indices], relevant.indices, relevant.indptr), shape=relevant.shape)
    )


def chance_zsr(n_labels: int, k: int) -> float:
    """ZSR@k that a random ranking of all labels has on average: min(1, k / n_labels); nan without labels."""
    return min(1.0, k / n_labels) if n_labels > 0 else float("nan")
