"""Weights over term counts: TF-IDF for cosines, BM25 for sums."""

from __future__ import annotations

from typing import cast

import numpy as np
import scipy.sparse as sp

from raytagger.schema import FloatArray
from raytagger.vectors.terms import Vocabulary

BM25_K1 = 1.2
BM25_B = 0.75


def idf(vocabulary: Vocabulary) -> FloatArray:
    """float32 (V,): ln((1 + texts) / (1 + frequency)) + 1, scikit-learn's smooth form."""
    return (np.log((1 + vocabulary.texts) / (1 + vocabulary.frequency_V)) + 1).astype(np.float32)


def tfidf(count_BV: sp.csr_matrix, idf_V: FloatArray) -> sp.csr_matrix:
    """Unit rows of (1 + ln count) x idf, float32 CSR (B, V); a text without known terms is a zero row."""
    weight = count_BV.copy()
    weight.data = (1 + np.log(weight.data)) * idf_V[weight.indices]
    norm_B = np.sqrt(np.asarray(weight.multiply(weight).sum(axis=1)).ravel())
    scale_B = np.divide(1, norm_B, out=np.zeros_like(norm_B), where=norm_B > 0)
    weight.data *= np.repeat(scale_B, np.diff(weight.indptr)).astype(np.float32)
    return weight


def bm25(count_LV: sp.csr_matrix) -> sp.csr_matrix:
    """BM25 weights of label texts, float32 CSR (L, V); a document's score is their sum over its distinct terms.

    Source: Robertson and Zaragoza 2009, with ln(1 + (L - n + 0.5) / (n + 0.5)) as idf, so that no weight is
    negative. A label without terms weighs nothing.
    """
    labels, terms = cast("tuple[int, int]", count_LV.shape)
    frequency_V = np.bincount(count_LV.indices, minlength=terms)
    idf_V = np.log(1 + (labels - frequency_V + 0.5) / (frequency_V + 0.5))
    length_L = np.asarray(count_LV.sum(axis=1)).ravel()
    norm_L = BM25_K1 * (1 - BM25_B + BM25_B * length_L / max(length_L.mean(), 1e-12))
    weight = count_LV.copy()
    saturated = weight.data * (BM25_K1 + 1) / (weight.data + np.repeat(norm_L, np.diff(weight.indptr)))
    weight.data = (saturated * idf_V[weight.indices]).astype(np.float32)
    return weight
