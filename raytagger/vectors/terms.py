"""Texts as counts of terms over a fixed vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

MAX_TERMS = 1 << 20


class TermCounts:
    """Document frequencies of terms, added up over batches of texts; the order of the batches does not matter."""

    def __init__(self) -> None:
        self.texts = 0
        self.frequency: Counter[str] = Counter()
        self._analyze = _vectorizer().build_analyzer()

    def add(self, texts: Iterable[str]) -> None:
        """Counts in how many texts each term stands; terms are lower-cased runs of two or more word characters."""
        for text in texts:
            self.frequency.update(set(self._analyze(text)))
            self.texts += 1

    def merge(self, other: TermCounts) -> None:
        """Adds what was counted elsewhere over other texts."""
        self.frequency.update(other.frequency)
        self.texts += other.texts


class Vocabulary:
    """Terms with their document frequencies, numbered from the most frequent on, ties by spelling.

    Attributes:
        terms: V terms.
        frequency_V: int64 (V,), the number of texts that each stands in.
        texts: how many texts were counted.
    """

    def __init__(self, terms: Sequence[str], frequency_V: npt.NDArray[np.int64], texts: int) -> None:
        self.terms, self.frequency_V, self.texts = list(terms), frequency_V, texts

    @classmethod
    def from_counts(cls, counts: TermCounts, max_terms: int = MAX_TERMS) -> Vocabulary:
        """The `max_terms` most frequent terms."""
        rows = sorted(counts.frequency.items(), key=lambda row: (-row[1], row[0]))[:max_terms]
        return cls([term for term, _ in rows], np.array([n for _, n in rows], np.int64), counts.texts)

    def count(self, texts: Sequence[str]) -> sp.csr_matrix:
        """float32 CSR (B, V) of how often each term stands in each text; other terms are passed over."""
        if not texts or not self.terms:
            return sp.csr_matrix((len(texts), len(self.terms)), dtype=np.float32)
        return sp.csr_matrix(self._counter.transform(texts), dtype=np.float32)

    def save(self, path: Path) -> None:
        """Writes a Parquet file of `term, frequency`."""
        table = pa.table({"term": pa.array(self.terms, pa.string()), "frequency": self.frequency_V})
        pq.write_table(table.replace_schema_metadata({"texts": str(self.texts)}), path)

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Reads what `save` wrote."""
        table = pq.read_table(path)
        texts = int((table.schema.metadata or {})[b"texts"])
        return cls(table["term"].to_pylist(), table["frequency"].to_numpy(), texts)

    @cached_property
    def _counter(self) -> Any:
        return _vectorizer(vocabulary=self.terms)


def _vectorizer(**options: Any) -> Any:
    # Importing scikit-learn takes a second, in every process, which most never need.
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(**options)
