"""How cosines of the text path stand beside the trees' scores: both as odds, measured on validation documents.

Rare trained labels stand in for untrained ones: the trees know them, the text path is asked as if they did not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.bundle.tree import TextScale
from raytagger.calibration.platt import fit_platt
from raytagger.schema import PAD, FloatArray, Scores

DOCUMENTS_AT_MOST, LABELS_AT_MOST = 2000, 2000
FALLBACK = (10.0, -8.0)  # a cosine of 0.8 is sure; where nothing can be measured
LEAST_SCORE = 1e-6


class TextSide(NamedTuple):
    """Documents and label texts in the spaces of the text path.

    Attributes:
        doc_BV: float32 CSR (B, V).
        label_LV: float32 CSR (L, V).
        doc_BE: float32 (B, E), or None.
        label_LE: float32 (L, E), or None.
    """

    doc_BV: sp.csr_matrix
    label_LV: sp.csr_matrix
    doc_BE: FloatArray | None
    label_LE: FloatArray | None

    def cosines(self, label_J: np.ndarray) -> FloatArray:
        """float32 (B, J), the mean of the spaces' cosines."""
        cosine_BJ = (self.doc_BV @ self.label_LV[label_J].T).toarray()
        if self.doc_BE is None or self.label_LE is None:
            return cosine_BJ
        return (cosine_BJ + self.doc_BE @ self.label_LE[label_J].T) / 2


def fit_scale(
    scores: Scores, gold: sp.csr_matrix, side: TextSide, count_L: np.ndarray, exponential: bool, seed: int
) -> TextScale:
    """The scale on which a cosine and a tree's score with the same odds are the same number.

    Args:
        scores: the trees' results for B validation documents.
        gold: bool CSR (B, L).
        side: of the same documents.
        count_L: int64 (L,), training documents of each label.
        exponential: the trees' scores are products of probabilities, so that their logarithm is fitted.
        seed: of the labels drawn where there are many.
    """
    trained = np.flatnonzero(count_L > 0)
    rare = trained[count_L[trained] <= np.median(count_L[trained])] if len(trained) else trained
    rare = np.random.default_rng([seed, 4]).permutation(rare)[:LABELS_AT_MOST]
    by_tree = fit_platt(*_pairs(scores, gold, exponential))
    right_BJ = gold[:, rare].toarray()
    by_text = fit_platt(side.cosines(rare).ravel(), right_BJ.ravel())
    if by_tree is None or by_text is None:
        return TextScale(*FALLBACK, exponential)
    slope = by_text.slope / by_tree.slope
    return TextScale(slope, (by_text.offset - by_tree.offset) / by_tree.slope, exponential)


def _pairs(scores: Scores, gold: sp.csr_matrix, exponential: bool) -> tuple[FloatArray, np.ndarray]:
    """What the trees said of each (document, label) that they named, and whether it is right."""
    found_BK = scores.label_BK != PAD
    row_P = np.nonzero(found_BK)[0]
    if not len(row_P):
        return np.zeros(0, np.float32), np.zeros(0, bool)
    right_P = np.asarray(gold[row_P, scores.label_BK[found_BK]]).ravel().astype(bool)
    score_P = scores.score_BK[found_BK]
    return (np.log(np.maximum(score_P, LEAST_SCORE)) if exponential else score_P), right_P
