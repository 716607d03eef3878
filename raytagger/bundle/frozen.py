"""The kind `frozen`: nothing was trained; documents meet labels in the spaces of frozen encoders and of terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.bundle.format import Opened
from raytagger.bundle.loaded import Loaded
from raytagger.bundle.moments import moments_by_score, some_of
from raytagger.corpus import LabelSet
from raytagger.encoders import Encoder, open_encoder, unread
from raytagger.errors import SettingsError
from raytagger.schema import BoolArray, FloatArray, Scores
from raytagger.search import (
    ConstantScorer,
    DenseScorer,
    DenseSearch,
    Scorer,
    SparseLabels,
    SparseScorer,
    above_zero,
    has_any,
    open_index,
    search_exact,
)
from raytagger.store import Store
from raytagger.vectors import Vocabulary, bm25, idf, tfidf

KINDS = ("dense", "tfidf", "mean", "bm25", "popularity")


class FrozenFeatures(NamedTuple):
    """What a search reads of B documents: unit embeddings, term weights, or neither.

    Attributes:
        documents: B.
        doc_BD: float32 (B, D), unit rows; None without an encoder.
        doc_BV: float32 CSR (B, V); None without terms.
        cut_B: bool (B,), longer than the encoder reads.
        shares_B: bool (B,), has a term of some label's text; None without terms, and in bundles of older versions.
    """

    documents: int
    doc_BD: FloatArray | None
    doc_BV: sp.csr_matrix | None
    cut_B: BoolArray
    shares_B: BoolArray | None = None

    @property
    def blank_B(self) -> BoolArray:
        """Bool (B,): the encoder reads nothing of the document, and it shares no term with any label.

        The labels' popularity is the same for every document, whatever is known of it.
        """
        if not self.reads_text:
            return np.zeros(self.documents, bool)
        if self.doc_BV is None:
            return self.by_terms_B
        shares_B = np.diff(self.doc_BV.indptr) > 0 if self.shares_B is None else self.shares_B
        return self.by_terms_B & ~shares_B

    @property
    def reads_text(self) -> bool:
        """Whether anything of the documents is read at all."""
        return self.doc_BD is not None or self.doc_BV is not None

    @property
    def by_terms_B(self) -> BoolArray:
        """Bool (B,), documents that have no embedding, so that no score of a label is below 0."""
        return np.ones(self.documents, bool) if self.doc_BD is None else unread(self.doc_BD)


@dataclass(frozen=True)
class FrozenTagger(Loaded):
    """A tagger without training; see `Tagger` for the attributes it shares with all kinds.

    `search.kind`: `dense` cosine of embeddings, `tfidf` cosine of term weights, `mean` of the two, `bm25`, or
    `popularity` (the labels' training counts, the same for every document).
    """

    encoder: Encoder | None
    dense: DenseSearch | None
    vocabulary: Vocabulary | None
    terms: SparseLabels | None

    def encode(self, texts: Sequence[str]) -> FrozenFeatures:
        """See `Tagger.encode`."""
        doc_BD, cut_B = None, np.zeros(len(texts), bool)
        if self.encoder is not None:
            doc_BD, cut_B = self.encoder.encode(texts, self.run.encoder.prompt)
        doc_BV, shares_B = self._weights(texts), None
        if doc_BV is not None and self.terms is not None:
            shares_B = has_any(doc_BV, self.terms.used_V)
        return FrozenFeatures(len(texts), doc_BD, doc_BV, cut_B, shares_B)

    def _answer(self, features: FrozenFeatures, k: int, allowed_L: BoolArray | None) -> Scores:
        return above_zero(self._rank(features, k, allowed_L), features.by_terms_B)

    def _rank(self, features: FrozenFeatures, k: int, allowed_L: BoolArray | None) -> Scores:
        """Retired labels and labels without any text are never answered."""
        allowed = self.labels.predictable_L
        if allowed_L is not None:
            allowed = allowed & allowed_L
        if self.dense is not None and features.doc_BD is not None and features.doc_BV is None:
            return self.dense.search(features.doc_BD, allowed, k)
        return search_exact(self._scorers(features), features.documents, allowed, k)

    def moments(self, features: FrozenFeatures, label_J: np.ndarray) -> FloatArray:
        """See `Tagger.moments`."""
        some, named_J = some_of(features, len(label_J)), self.labels.predictable_L[label_J]
        return moments_by_score(self._scorers(some, label_J[named_J]), ~some.blank_B, named_J)

    def forgetting(self, hidden_L: BoolArray) -> FrozenTagger:
        """See `Tagger.forgetting`: nothing but the counts was learnt of a label."""
        return replace(self, train_count_L=np.where(hidden_L, 0, self.train_count_L))

    def with_labels(self, newer: LabelSet) -> FrozenTagger:
        """See `Tagger.with_labels`."""
        new, dense, terms = self.compared(newer), self.dense, self.terms
        if dense is not None and self.encoder is not None:
            label_LD = new.padded(dense.label_LD)
            if new.changed:
                label_LD[new.changed] = self.encoder.encode(new.texts, self.run.labels.prompt).vector_BD
            dense = dense.with_labels(label_LD, new.changed)
        if self.vocabulary is not None:
            terms = label_terms(self.vocabulary, new.labels.full_texts, self.run.search.kind)
        return replace(self, labels=new.labels, train_count_L=new.train_count_L, dense=dense, terms=terms)

    def _weights(self, texts: Sequence[str]) -> sp.csr_matrix | None:
        if self.vocabulary is None:
            return None
        count_BV = self.vocabulary.count(texts)
        if self.run.search.kind != "bm25":
            return tfidf(count_BV, idf(self.vocabulary))
        count_BV.data[:] = 1
        return count_BV

    def _scorers(self, features: FrozenFeatures, only: np.ndarray | None = None) -> list[Scorer]:
        """Of all labels, or of some, int64."""
        scorers: list[Scorer] = []
        if features.doc_BD is not None and self.dense is not None:
            label_LD = self.dense.label_LD
            scorers.append(DenseScorer(features.doc_BD, label_LD if only is None else label_LD[only]))
        if features.doc_BV is not None and self.terms is not None:
            terms = self.terms if only is None else SparseLabels(sp.csr_matrix(self.terms.label_LV[only]))
            scorers.append(SparseScorer(features.doc_BV, terms))
        if not scorers:
            share_L = self.train_count_L / max(int(self.train_count_L.sum()), 1)
            share_L = share_L.astype(np.float32) if only is None else share_L[only].astype(np.float32)
            scorers.append(ConstantScorer(features.documents, share_L))
        return scorers


def label_terms(vocabulary: Vocabulary, texts: Sequence[str], kind: str) -> SparseLabels:
    """The labels' side of `tfidf`, `mean` and `bm25`."""
    count_LV = vocabulary.count(texts)
    return SparseLabels(bm25(count_LV) if kind == "bm25" else tfidf(count_LV, idf(vocabulary)))


def uses_encoder(kind: str) -> bool:
    """Whether a search kind reads embeddings.

    Raises:
        SettingsError: the kind is unknown.
    """
    if kind not in KINDS:
        raise SettingsError("search.kind", got=kind, expected=", ".join(KINDS))
    return kind in ("dense", "mean")


def uses_terms(kind: str) -> bool:
    """Whether a search kind reads terms."""
    return kind in ("tfidf", "mean", "bm25")


def open_frozen(opened: Opened, store: Store, device: str) -> FrozenTagger:
    """Loads the kind's files."""
    del store  # everything lies in the bundle
    run = opened.run
    dense, sparse = uses_encoder(run.search.kind), uses_terms(run.search.kind)
    index = open_index(opened.folder, opened.manifest.get("index"))
    vocabulary = _open_vocabulary(opened.folder) if sparse else None
    return FrozenTagger(
        bundle_id=opened.bundle_id,
        manifest=opened.manifest,
        labels=opened.labels,
        train_count_L=opened.train_count_L,
        trained_hashes=opened.trained_hashes,
        thresholds=opened.thresholds,
        run=run,
        encoder=open_encoder(opened.folder / "encoder", device) if dense else None,
        dense=DenseSearch.over(_read_matrix(opened.folder / "label_LD.npy"), index) if dense else None,
        vocabulary=vocabulary,
        terms=label_terms(vocabulary, opened.labels.full_texts, run.search.kind) if vocabulary else None,
    )


def _open_vocabulary(folder: Path) -> Vocabulary:
    older = folder / "terms.parquet"
    return Vocabulary.load(older if older.is_file() else folder / "terms")


def _read_matrix(path: Path) -> FloatArray:
    return np.load(path, allow_pickle=False).astype(np.float32)
