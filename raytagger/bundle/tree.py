"""The kind `tree`: linear rankers over a label tree (or one matrix of all labels), and a text path for the rest.

terms/            the vocabulary, as plain arrays
tree<n>/          the search's layout, memory-mapped, so that processes share its pages; one an ensemble's tree
encoder/          the document encoder, where its vectors stand beside the terms; label_LE.npy: label texts by it
text.json         how cosines of the text path become scores of the trees' scale

A label that was not trained is never scored by the trees: its text is compared with the document, by words and by
vectors where there is an encoder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.bundle.format import Opened
from raytagger.bundle.loaded import Loaded
from raytagger.bundle.moments import moments_by_score, some_of
from raytagger.bundle.tree_path import Explanation, Step
from raytagger.corpus import LabelSet
from raytagger.encoders import Encoder, open_encoder, unread
from raytagger.errors import SettingsError
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.search import (
    DenseScorer,
    Scorer,
    SparseLabels,
    SparseScorer,
    above_zero,
    has_any,
    nothing,
    search_exact,
)
from raytagger.search.beam import BeamSearch, warm
from raytagger.search.ensemble import average
from raytagger.search.layout import open_layout
from raytagger.search.transforms import scoring, usual_combiner
from raytagger.settings import FitRun, TreeSettings
from raytagger.store import Store
from raytagger.vectors import Postings, SparseRows, TfIdf, merge_disjoint

ENSEMBLE_DEPTH = 100  # labels that each tree of an ensemble brings
STRONGEST = 10  # features named in an explanation
FEW_PLACES = 1000  # up to which labels are put in their places one by one
FEATURES = ("all", "terms")
_ONE = np.ones(1, bool)


class TreeFeatures(NamedTuple):
    """What a search reads of B documents.

    Attributes:
        doc_BV: float32 CSR (B, V), unit rows of term weights.
        doc_BE: float32 (B, E), unit rows by the encoder; None without one.
        cut_B: bool (B,), longer than the encoder reads.
        blank_B: bool (B,), no term that a tree weighs or an untrained label has, nothing that the encoder reads.
    """

    doc_BV: sp.csr_matrix
    doc_BE: FloatArray | None
    cut_B: BoolArray
    blank_B: BoolArray

    @property
    def by_terms_B(self) -> BoolArray:
        """Bool (B,), documents that no encoder has read: terms alone are compared."""
        return np.ones(len(self.cut_B), bool) if self.doc_BE is None else unread(self.doc_BE)


class TextScale(NamedTuple):
    """From a cosine of the text path to a score of the trees' scale.

    Attributes:
        slope: of the cosine.
        offset: added.
        exponential: the line gives the logarithm of the score, which is at most 1.
    """

    slope: float
    offset: float
    exponential: bool

    def scores(self, cosine_BK: FloatArray) -> FloatArray:
        """float32 (B, K); `-inf` stays."""
        line_BK = self.slope * cosine_BK + self.offset
        score_BK = np.exp(np.minimum(line_BK, 0)) if self.exponential else line_BK
        return np.where(np.isneginf(cosine_BK), np.float32(-np.inf), score_BK)


@dataclass(frozen=True)
class TreeTagger(Loaded):
    """A trained tree (or several); see `Tagger` for the attributes it shares with all kinds."""

    terms: TfIdf
    trees: tuple[BeamSearch, ...]
    encoder: Encoder | None
    label_LE: FloatArray | None
    scale: TextScale
    forgetful: bool = False  # the trees hold labels that count as untrained

    @cached_property
    def trained_L(self) -> BoolArray:
        """Bool (L,): labels that the trees hold."""
        return self.train_count_L > 0

    def encode(self, texts: Sequence[str]) -> TreeFeatures:
        """See `Tagger.encode`."""
        doc_BV = self.terms.transform(texts)
        doc_BE, cut_B = None, np.zeros(len(texts), bool)
        if self.encoder is not None:
            doc_BE, cut_B = self.encoder.encode(texts, self.run.encoder.prompt)
        blank_B = ~has_any(doc_BV, self._used_V) & (doc_BE is None or unread(doc_BE))
        return TreeFeatures(doc_BV, doc_BE, cut_B, blank_B)

    def _answer(self, features: TreeFeatures, k: int, allowed_L: BoolArray | None) -> Scores:
        return self._find(features, k, allowed_L, sharing=True)

    def _rank(self, features: TreeFeatures, k: int, allowed_L: BoolArray | None) -> Scores:
        return self._find(features, k, allowed_L, sharing=False)

    def _find(self, features: TreeFeatures, k: int, allowed_L: BoolArray | None, sharing: bool) -> Scores:
        """The k best labels; `sharing`: of those that are found by their words, the ones that share some.

        Retired labels, and untrained labels without any text, are never answered.
        """
        allowed = self._answerable if allowed_L is None else self._answerable & allowed_L
        untrained = self._untrained[allowed[self._untrained]]
        if allowed_L is not None and len(untrained) and not (allowed & self.trained_L).any():
            return self._search_texts(features, k, untrained, sharing)
        found = self._search_trees(features, k, None if allowed_L is None else allowed & self.trained_L)
        if not len(untrained):
            return found
        return merge_disjoint(found, self._search_texts(features, k, untrained, sharing), k)

    def _tag(self, texts: Sequence[str], k: int) -> Scores:
        if len(texts) == 1 and self._terms_alone:
            return self._tag_one(texts, k)
        return self.search(self.encode(texts), k)

    def forgetting(self, hidden_L: BoolArray) -> TreeTagger:
        """See `Tagger.forgetting`: their rankers are passed over, and their texts are searched instead."""
        return replace(self, train_count_L=np.where(hidden_L, 0, self.train_count_L), forgetful=True)

    def moments(self, features: TreeFeatures, label_J: np.ndarray) -> FloatArray:
        """See `Tagger.moments`."""
        if self.trained_L[label_J].any():
            return super().moments(features, label_J)
        some, named_J = some_of(features, len(label_J)), np.isin(label_J, self._untrained)
        scorers = self._text_scorers(some, np.searchsorted(self._untrained, label_J[named_J]))
        return moments_by_score(scorers, ~some.blank_B, named_J, self.scale.scores)

    def with_labels(self, newer: LabelSet) -> TreeTagger:
        """See `Tagger.with_labels`: new labels are found by their text; trained ones keep their weights."""
        new, label_LE = self.compared(newer), self.label_LE
        if label_LE is not None and self.encoder is not None and new.changed:
            label_LE = new.padded(label_LE)
            label_LE[new.changed] = self.encoder.encode(new.texts, self.run.labels.prompt).vector_BD
        return replace(self, labels=new.labels, train_count_L=new.train_count_L, label_LE=label_LE)

    def explain(self, text: str, label_id: str) -> Explanation:
        """Why a label has its score for a text; of an ensemble the first tree tells.

        Raises:
            SettingsError: there is no such label.
        """
        label = self.labels.index.get(label_id)
        if label is None:
            raise SettingsError("no such label", got=label_id, expected="a label id of the bundle's label set")
        features = self.encode([text])
        only_L = np.zeros(len(self.labels), bool)
        only_L[label] = True
        # An ensemble's scores depend on the other labels found; a tree's do not, and a limit finds any label.
        alone = len(self.trees) == 1 or not self.trained_L[label]
        found = self.search(features, 1, only_L) if alone else self.search(features, ENSEMBLE_DEPTH)
        score = float(found.score_BK[0][found.label_BK[0] == label].sum())
        steps, parts_V = (), self._shared_terms(features, label)
        blank = bool(self.search(features, 1).empty_B[0])
        if self.trained_L[label] and not blank:
            doc_BE = self._weighted(features.doc_BE) if reads_vectors(self.run.tree)[0] else None
            path = self.trees[0].path(features.doc_BV, label, None if doc_BE is None else doc_BE[0])
            path = path[1:] if self.manifest["search"] == "flat" else path  # blocks of labels say nothing
            steps = tuple(Step(one.level, one.node, one.margin, one.combined) for one in path)
            parts_V = list(zip(path[-1].feature_T.tolist(), path[-1].contribution_T.tolist(), strict=True))
        strongest = sorted(parts_V, key=lambda part: -abs(part[1]))[:STRONGEST]
        named = tuple((self.terms.vocabulary.terms[feature], value) for feature, value in strongest if value)
        return Explanation(label_id, bool(self.trained_L[label]), score, steps, named, blank)

    def _tag_one(self, texts: Sequence[str], k: int) -> Scores:
        """One text without the matrices of a batch, which would take longer than its search."""
        row = self.terms.rows(texts)
        allowed_L = None if self._all_trained_answerable else self._answerable_trained
        tree = self.trees[0]
        weighed = tree.layout.known_V[row.feature].any()
        found = tree.search_one(row.feature, row.value, k, allowed_L=allowed_L) if weighed else nothing(1, k)
        if not len(self._untrained):
            return found
        return merge_disjoint(found, self._by_text(above_zero(self._untrained_words.best(row, k), _ONE)), k)

    def _search_trees(self, features: TreeFeatures, k: int, allowed_L: BoolArray | None) -> Scores:
        """The trained labels; `allowed_L` None for all that are active.

        A tree gives no label to a document without any feature that it weighs: its biases say what is frequent.
        """
        if allowed_L is None:
            allowed_L = None if self._all_trained_answerable else self._answerable_trained
        depth = k if len(self.trees) == 1 else max(k, ENSEMBLE_DEPTH)
        doc_BE = self._weighted(features.doc_BE)
        results = []
        for tree, vectors in zip(self.trees, reads_vectors(self.run.tree), strict=True):
            found = tree.search(features.doc_BV, depth, doc_BE if vectors else None, allowed_L=allowed_L)
            unread_B = tree.blank(features.doc_BV)
            results.append(found.without(unread_B & features.by_terms_B if vectors else unread_B))
        return results[0] if len(results) == 1 else average(results, self.run.tree.combine, k)

    def _search_texts(self, features: TreeFeatures, k: int, untrained: np.ndarray, sharing: bool) -> Scores:
        """The untrained labels, by the mean of their cosines."""
        allowed = np.isin(self._untrained, untrained, assume_unique=True)
        doc_BE = None if self.label_LE is None else features.doc_BE
        if doc_BE is None and k <= FEW_PLACES:
            found = self._untrained_words.best(SparseRows.of(features.doc_BV), k, allowed)
            return self._by_text(above_zero(found, features.by_terms_B) if sharing else found)
        found = search_exact(self._text_scorers(features), len(features.cut_B), allowed, k)
        return self._by_text(above_zero(found, features.by_terms_B) if sharing else found)

    def _text_scorers(self, features: TreeFeatures, only: np.ndarray | None = None) -> list[Scorer]:
        """Cosines of untrained labels, numbered among themselves; int64 `only`: of some."""
        words_BV = words_alone(self.terms, features.doc_BV)
        words_LV = self._untrained_terms if only is None else sp.csr_matrix(self._untrained_terms[only])
        scorers: list[Scorer] = [SparseScorer(words_BV, SparseLabels(words_LV))]
        if self.label_LE is not None and features.doc_BE is not None:
            label_LE = self._untrained_LE
            scorers.append(DenseScorer(features.doc_BE, label_LE if only is None else label_LE[only]))
        return scorers

    def _by_text(self, found: Scores) -> Scores:
        """Cosines of untrained labels, numbered among themselves, as scores of all labels' numbers."""
        label_BK = np.where(found.label_BK == PAD, PAD, self._untrained[found.label_BK]).astype(np.int32)
        return Scores(label_BK, self.scale.scores(found.score_BK))

    def _weighted(self, doc_BE: FloatArray | None) -> FloatArray | None:
        weight = np.float32(self.run.tree.dense_weight)
        return None if doc_BE is None else doc_BE * weight

    def _shared_terms(self, features: TreeFeatures, label: int) -> list[tuple[int, float]]:
        text_1V = words_alone(self.terms, self.terms.transform([self.labels.full_texts[label]]))
        shared = words_alone(self.terms, features.doc_BV).multiply(text_1V).tocsr()
        return list(zip(shared.indices.tolist(), shared.data.tolist(), strict=True))

    @cached_property
    def _answerable(self) -> BoolArray:
        """Bool (L,): active, and trained or with a text."""
        return self.labels.active_L & (self.labels.predictable_L | self.trained_L)

    @cached_property
    def _all_trained_answerable(self) -> bool:
        return not self.forgetful and bool(self._answerable[self.trained_L].all())

    @cached_property
    def _answerable_trained(self) -> BoolArray:
        return self._answerable & self.trained_L

    @cached_property
    def _terms_alone(self) -> bool:
        """One tree over terms, and no vectors beside it."""
        return len(self.trees) == 1 and self.encoder is None and bool(self._answerable_trained.any())

    @cached_property
    def _untrained(self) -> np.ndarray:
        """int64, the labels that are found by their text."""
        return np.flatnonzero(self._answerable & ~self.trained_L)

    @cached_property
    def _untrained_LE(self) -> FloatArray:
        assert self.label_LE is not None
        return self.label_LE[self._untrained]

    @cached_property
    def _untrained_terms(self) -> sp.csr_matrix:
        texts = [self.labels.full_texts[label] for label in self._untrained]
        return words_alone(self.terms, self.terms.transform(texts))

    @cached_property
    def _used_V(self) -> BoolArray:
        """Bool (V,), terms that say something of a label."""
        used_V = np.any([tree.layout.known_V for tree in self.trees], axis=0)
        used_V[self._untrained_terms.indices] = True
        return used_V

    @cached_property
    def _untrained_words(self) -> Postings:
        return Postings(self._untrained_terms, self.terms.vocabulary.arrays.right_V < 0)


def reads_vectors(settings: TreeSettings) -> list[bool]:
    """For each tree of an ensemble, whether the encoder's vectors stand beside its terms.

    Raises:
        SettingsError: an unknown feature set, or none.
    """
    if not settings.features or not set(settings.features) <= set(FEATURES):
        raise SettingsError(
            "tree.features", got=list(settings.features), expected="one or more of " + ", ".join(FEATURES)
        )
    wanted = [name == "all" and settings.dense_weight > 0 for name in settings.features]
    return [vectors for vectors in wanted for _ in range(settings.trees)]


def combination(settings: TreeSettings) -> str:
    """The combiner: the one named, else the one that fits the transform.

    Raises:
        SettingsError: the transform or combiner is unknown, or a product of scores that may be negative.
    """
    named = settings.combiner or usual_combiner(settings.transform)
    found = scoring(settings.transform, named)
    if named == "product" and not found.finish:
        raise SettingsError(
            "tree.combiner",
            got=named,
            expected=f"sum or none with {settings.transform}, whose scores may be negative",
        )
    return named


def words_alone(terms: TfIdf, weight_BV: sp.csr_matrix) -> sp.csr_matrix:
    """The text path's rows: single words at unit length; a short text shares word pairs only by chance."""
    value = weight_BV.data * (terms.vocabulary.arrays.right_V[weight_BV.indices] < 0)
    kept = sp.csr_matrix((value, weight_BV.indices, weight_BV.indptr), weight_BV.shape, copy=True)
    kept.eliminate_zeros()
    norm_B = np.sqrt(np.asarray(kept.multiply(kept).sum(axis=1)).ravel())
    kept.data /= np.repeat(norm_B, np.diff(kept.indptr)).astype(np.float32)
    return kept


def open_tree(opened: Opened, store: Store, device: str) -> TreeTagger:
    """Loads the kind's files; the weights stay on the disk until they are read. Nothing is left to compile."""
    del store  # everything lies in the bundle
    folder, run = opened.folder, opened.run
    beam = 0 if opened.manifest["search"] == "flat" else run.search.beam
    trees = [open_search(folder / f"tree{number}", run, beam) for number in range(len(reads_vectors(run.tree)))]
    terms = TfIdf.load(folder / "terms")
    terms.warm()
    warm(trees[0].layout)
    Postings.warm()
    has_encoder = run.tree.dense_weight > 0
    return TreeTagger(
        bundle_id=opened.bundle_id,
        manifest=opened.manifest,
        labels=opened.labels,
        train_count_L=opened.train_count_L,
        trained_hashes=opened.trained_hashes,
        thresholds=opened.thresholds,
        run=run,
        terms=terms,
        trees=tuple(trees),
        encoder=open_encoder(folder / "encoder", device) if has_encoder else None,
        label_LE=np.load(folder / "label_LE.npy").astype(np.float32) if has_encoder else None,
        scale=TextScale(**json.loads((folder / "text.json").read_text())),
    )


def open_search(folder: Path, run: FitRun, beam: int) -> BeamSearch:
    """One tree of a bundle; with beam 0 every node is scored."""
    return BeamSearch(open_layout(folder), run.tree.transform, combination(run.tree), beam)
