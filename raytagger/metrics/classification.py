"""F1 of the tags that were kept, over all pairs (micro) and by label (macro).

Tags and gold are CSR (B, L), bool or numeric, over the same documents; every document given counts, so the
caller leaves out those without gold first. `tag_matrix` makes such a matrix of Scores.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from raytagger.metrics.ranking import count_gold, dimensions, positives
from raytagger.metrics.ratio import DoubleArray, Ratio, mean_defined
from raytagger.schema import PAD, Scores


def tag_matrix(scores: Scores, n_labels: int, threshold: float = -np.inf) -> csr_matrix:
    """The tags of a ranking as bool CSR (B, L): the filled places whose score is at least the threshold."""
    kept_BK = (scores.label_BK > PAD) & (scores.score_BK >= threshold)
    row_P, label_P = np.nonzero(kept_BK)[0], scores.label_BK[kept_BK]
    ones_P = np.ones(len(row_P), dtype=np.bool_)
    return positives(csr_matrix((ones_P, (row_P, label_P)), shape=(len(scores), n_labels)))


def micro_f1_parts(kept: csr_matrix, gold: csr_matrix) -> Ratio:
    """Each document's share of micro-F1: twice its correct tags, over its tags plus its gold labels.

    Raises:
        ValueError: the shapes differ.
    """
    correct = _correct(kept, gold)
    n_tags_B = count_gold(kept) + count_gold(gold)
    return Ratio((2 * count_gold(correct)).astype(np.float64), n_tags_B.astype(np.float64))


def micro_f1(kept: csr_matrix, gold: csr_matrix) -> float:
    """F1 over all pairs of document and label; nan if there is neither a tag nor a gold label.

    Raises:
        ValueError: the shapes differ.
    """
    return micro_f1_parts(kept, gold).total()


def macro_f1(kept: csr_matrix, gold: csr_matrix) -> float:
    """The mean F1 of the labels that have a gold document or were given as a tag; nan if there are none.

    A label with gold or tags but without a correct tag counts 0; a label with neither is left out, otherwise
    a label set of a million would have a macro-F1 near 0 on any test split.

    Raises:
        ValueError: the shapes differ.
    """
    correct = _correct(kept, gold)
    return mean_defined(Ratio(2.0 * _by_label(correct), _by_label(kept) + _by_label(gold)).per_document())


def _correct(kept: csr_matrix, gold: csr_matrix) -> csr_matrix:
    if dimensions(kept) != dimensions(gold):
        raise ValueError(f"tags {kept.shape} and gold {gold.shape} must have one shape")
    return csr_matrix(positives(kept).multiply(positives(gold)))


def _by_label(matrix: csr_matrix) -> DoubleArray:
    return np.bincount(positives(matrix).indices, minlength=dimensions(matrix)[1]).astype(np.float64)
