"""Weights over term counts: TF-IDF for cosines, BM25 for sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import scipy.sparse as sp

from raytagger.schema import FloatArray
from raytagger.vectors.style import SCRIPTS, STANDARD, Style
from raytagger.vectors.tally import TermCounts
from raytagger.vectors.terms import MAX_TERMS, SparseRows, Vocabulary
from raytagger.vectors.words import weigh_rows

BM25_K1 = 1.2
BM25_B = 0.75


class TfIdf:
    """Texts to unit rows of (1 + ln count) x idf over words and pairs of words.

    A vocabulary of the style WORDS gives what scikit-learn's `TfidfVectorizer(ngram_range=(1, 2),
    sublinear_tf=True)` gives with the same vocabulary, whose columns it numbers by document frequency. So does
    one of SCRIPTS on texts of scripts with spaces without combining marks and invisible characters. Any other
    weighs as its style says. Its methods may be called from several threads at once.

    Attributes:
        vocabulary: the terms.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        ngrams: int = 2,
        max_terms: int = MAX_TERMS,
        min_frequency: int = 1,
        words: int = SCRIPTS,
    ) -> TfIdf:
        """Counts texts that fit memory; `stream` counts those that do not."""
        counts = TermCounts(ngrams, words)
        counts.add(texts)
        return cls(Vocabulary.from_counts(counts, max_terms, min_frequency))

    @cached_property
    def idf_V(self) -> FloatArray:
        """float32 (V,): see `idf`."""
        return idf(self.vocabulary)

    def transform(self, texts: Sequence[str], threads: int = 1) -> sp.csr_matrix:
        """float32 CSR (B, V); a text without known terms is a zero row."""
        return self.rows(texts, threads).csr()

    def rows(self, texts: Sequence[str], threads: int = 1) -> SparseRows:
        """As `transform`, without the matrix: the way for single texts."""
        return self.vocabulary.rows(texts, self.idf_V, threads)

    def warm(self) -> None:
        """Compiles, and touches what the first text would have to wait for."""
        self.rows(["warm é", "up"])

    def save(self, folder: Path) -> None:
        """Writes the vocabulary; see `Vocabulary.save`."""
        self.vocabulary.save(folder)

    @classmethod
    def load(cls, path: Path) -> TfIdf:
        """Maps what `save` wrote; see `Vocabulary.load`."""
        return cls(Vocabulary.load(path))


def idf(vocabulary: Vocabulary) -> FloatArray:
    """float32 (V,): what was given, else ln((1 + texts) / (1 + frequency)) + 1, scikit-learn's smooth form."""
    if len(vocabulary.arrays.idf_V):
        return vocabulary.arrays.idf_V
    return (np.log((1 + vocabulary.texts) / (1 + vocabulary.frequency_V)) + 1).astype(np.float32)


def tfidf(count_BV: sp.csr_matrix, idf_V: FloatArray, style: Style = STANDARD) -> sp.csr_matrix:
    """Unit rows of (1 + ln count) x idf, float32 CSR (B, V); a text without known terms is a zero row."""
    weight = count_BV.copy()
    weigh_rows(weight.indptr, weight.indices, weight.data, idf_V, style)
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
