"""What the stages of a recipe over word features share: the corpus as arrays, each made once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from raytagger.corpus import LabelSet
from raytagger.corpus.report import CorpusReport
from raytagger.encoders import Encoder, lazy_encoder
from raytagger.errors import CorpusError, SettingsError
from raytagger.labels.tree import MOST_SIBLINGS
from raytagger.progress import Progress
from raytagger.recipes.features import Features, read_features
from raytagger.recipes.fitted import Embedded, embed_documents
from raytagger.recipes.reading import corpus_files, source_of_key
from raytagger.recipes.stages import Stages
from raytagger.schema import FloatArray
from raytagger.search import choose_index, choose_trees
from raytagger.settings import FitRun, TreeSettings, fingerprint
from raytagger.store import Store
from raytagger.stream.count import count_terms
from raytagger.vectors import TfIdf, Vocabulary

STAGES = 2  # raised when a stage writes other files for the same input


@dataclass(frozen=True)
class Workshop:
    """A run with its corpus; what a property needs is made when first read, or found from an earlier attempt."""

    run: FitRun
    store: Store
    labels: LabelSet
    stages: Stages
    report: CorpusReport
    progress: Progress
    say: Callable[[str], None]

    @cached_property
    def terms(self) -> Path:
        """The folder of the vocabulary."""
        return self.stages.folder("terms", self._corpus_key, self._make_terms)

    @cached_property
    def weigh(self) -> TfIdf:
        """Texts to term weights."""
        return TfIdf.load(self.terms)

    @cached_property
    def encoder(self) -> Encoder | None:
        """The frozen encoder beside the terms."""
        return self.any_encoder if self.run.tree.dense_weight else None

    @cached_property
    def any_encoder(self) -> Encoder:
        """The frozen encoder, wherever it is read; loaded for texts that the bank does not know."""
        return lazy_encoder(self.run.encoder, self.store)

    @cached_property
    def features_key(self) -> str:
        """Changes with whatever the features depend on."""
        if not self.run.tree.dense_weight:
            return self._corpus_key
        prompt, identity = self.run.encoder.prompt, self.encoder.identity if self.encoder else ""
        return fingerprint(self.run.terms, corpus=self._corpus_key, encoder=[identity, prompt])

    @cached_property
    def features(self) -> Features:
        """The corpus as arrays."""
        folder = self.stages.folder("features", self.features_key, self._make_features)
        self.report.restore(folder)
        return Features.load(folder)

    @cached_property
    def count_L(self) -> np.ndarray:
        """int64 (L,), training documents of each label."""
        return self.features.count_L

    @cached_property
    def gold(self) -> sp.csr_matrix:
        """Bool CSR (training documents, L)."""
        return sp.csr_matrix(self.features.gold[self.features.train_N])

    @cached_property
    def trained(self) -> int:
        """How many labels have a training document."""
        return int((self.count_L > 0).sum())

    @cached_property
    def kind(self) -> str:
        """`flat` or `tree`."""
        asked, trees = self.run.search.index, self.run.tree.trees
        labels = self.trained
        kind = choose_index("tree" if asked == "auto" and trees > 1 else asked, labels, "terms")
        if kind == "flat" and (trees > 1 or labels > MOST_SIBLINGS**2):
            raise SettingsError(
                "one matrix of all labels",
                got=f"{labels:,} labels, tree.trees = {trees}",
                expected=f"{MOST_SIBLINGS**2:,} labels at most, and one of it: seeds change nothing in it",
                remedy='Set search.index = "tree".',
            )
        return kind

    @cached_property
    def tree(self) -> TreeSettings:
        """The run's, with the number of trees that it comes to."""
        return replace(self.run.tree, trees=choose_trees(self.run.tree.trees, self.trained, self.kind))

    def doc_NV(self, rows: np.ndarray) -> sp.csr_matrix:
        """float32 CSR (rows, V), term weights of some documents."""
        return sp.csr_matrix(self.features.doc_NV[rows])

    def doc_NE(self, rows: np.ndarray) -> FloatArray | None:
        """float32 (rows, E), vectors of some documents by `tree.dense_weight`; None without an encoder."""
        doc_NE = self.features.doc_NE
        return None if doc_NE is None else doc_NE[rows] * np.float32(self.run.tree.dense_weight)

    @cached_property
    def _corpus_key(self) -> str:
        files = corpus_files(self.run, self.store)
        parts = [STAGES, source_of_key(self.run), self.labels.fingerprint, self.run.train.seed]
        return fingerprint(self.run.terms, files=files, parts=parts)

    def _make_terms(self, folder: Path) -> None:
        """Label texts are counted beside documents, so that a word which both have once is kept."""
        terms = self.run.terms
        counts = count_terms(self.run, self.progress)
        counts.add(self.labels.full_texts)
        vocabulary = Vocabulary.from_counts(counts, terms.max_terms, terms.min_frequency)
        if not len(vocabulary.frequency_V):
            raise CorpusError(
                "no term is left to train on",
                got=f"{counts.texts} texts, terms.min_frequency {terms.min_frequency}",
                remedy="Lower terms.min_frequency, raise terms.max_terms, or look at the texts.",
            )
        vocabulary.save(folder)

    def _make_features(self, folder: Path) -> None:
        encode = None if self.encoder is None else partial(self._embed, self.encoder)
        read = read_features(self.run, self.store, self.labels, self.weigh, encode, self.report, self.progress)
        read.save(folder)
        self.report.save(folder)

    def _embed(self, encoder: Encoder, ids: list[str], texts: list[str]) -> Embedded:
        """Document vectors are kept by text hash as label vectors are."""
        documents = dict(zip(ids, texts, strict=True))
        return embed_documents(self.run, self.store, encoder, documents, self.report, self.progress)
