"""Which share of a label text's words stand in a document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from raytagger.schema import PAD, FloatArray, IntArray
from raytagger.vectors import TfIdf
from raytagger.vectors.style import SCRIPTS

PAIRS_AT_ONCE = 200_000


class Overlap:
    """Words of label texts, by how rare they are among label texts.

    Args:
        texts: of the labels.
        way: how words are seen, see `Style`.
    """

    def __init__(self, texts: Sequence[str], way: int = SCRIPTS) -> None:
        self.way = way
        self._terms = TfIdf.fit([text for text in texts if text] or ["."], ngrams=1, words=way)
        weight_LV = self._terms.transform(texts)
        weight_LV.data **= 2
        total_L = np.asarray(weight_LV.sum(axis=1)).ravel()
        weight_LV.data /= np.repeat(np.maximum(total_L, 1e-12), np.diff(weight_LV.indptr)).astype(np.float32)
        self._share_LV = sp.csr_matrix(weight_LV)

    def words(self, texts: Sequence[str]) -> sp.csr_matrix:
        """float32 CSR (B, V) of ones: which label words a document has."""
        found_BV = self._terms.transform(texts)
        found_BV.data[:] = 1
        return found_BV

    def shares(self, words_BV: sp.csr_matrix, label_BC: IntArray) -> FloatArray:
        """float32 (B, C) in [0, 1]; 0 for `PAD`."""
        share_BC = np.zeros(label_BC.shape, np.float32)
        row_P, column_P = np.nonzero(label_BC != PAD)
        for start in range(0, len(row_P), PAIRS_AT_ONCE):
            row, column = row_P[start : start + PAIRS_AT_ONCE], column_P[start : start + PAIRS_AT_ONCE]
            both = self._share_LV[label_BC[row, column]].multiply(words_BV[row])
            share_BC[row, column] = np.asarray(both.sum(axis=1)).ravel()
        return share_BC
