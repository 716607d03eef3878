"""The corpus as features: term weights, vectors of a frozen encoder, and gold labels, as arrays in one folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from raytagger.corpus import LabelSet
from raytagger.corpus.report import CorpusReport
from raytagger.progress import Progress
from raytagger.recipes.fitted import Embedded
from raytagger.recipes.reading import Collected, check_trainable, read_training
from raytagger.schema import FloatArray
from raytagger.search.ranker import columns
from raytagger.settings import FitRun
from raytagger.store import Store
from raytagger.vectors import TfIdf


@dataclass(frozen=True)
class Features:
    """What a ranker is trained on.

    Attributes:
        doc_NV: float32 CSR (N, V), term weights, unit rows.
        doc_NE: float32 (N, E), unit rows of the encoder; None without one.
        gold: bool CSR (N, L).
        train_N: int64, documents of the training split that have a label.
        validation_N: int64, documents of the validation split that have one.
        trained_hashes: uint64, of the ids of all documents of the training split.
    """

    doc_NV: sp.csr_matrix
    doc_NE: FloatArray | None
    gold: sp.csr_matrix
    train_N: np.ndarray
    validation_N: np.ndarray
    trained_hashes: np.ndarray

    @property
    def count_L(self) -> np.ndarray:
        """int64 (L,), training documents of each label."""
        return np.asarray(self.gold[self.train_N].sum(axis=0)).ravel().astype(np.int64)

    def save(self, folder: Path) -> None:
        """Writes plain arrays."""
        for name, matrix in (("terms", self.doc_NV), ("gold", self.gold)):
            np.save(folder / f"{name}.indices.npy", matrix.indices)
            np.save(folder / f"{name}.indptr.npy", matrix.indptr)
        np.save(folder / "terms.data.npy", self.doc_NV.data)
        np.save(folder / "shape.npy", np.array([columns(self.doc_NV), columns(self.gold)], np.int64))
        np.save(folder / "train_N.npy", self.train_N)
        np.save(folder / "validation_N.npy", self.validation_N)
        np.save(folder / "trained_hashes.npy", self.trained_hashes)
        if self.doc_NE is not None:
            np.save(folder / "doc_NE.npy", self.doc_NE.astype(np.float16))

    @staticmethod
    def load(folder: Path) -> Features:
        """Reads what `save` wrote."""

        def read(name: str) -> np.ndarray:
            return np.load(folder / f"{name}.npy", allow_pickle=False)

        def matrix(name: str, data: np.ndarray, width: int) -> sp.csr_matrix:
            indices, indptr = read(f"{name}.indices"), read(f"{name}.indptr")
            return sp.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, width))

        terms, labels = read("shape")
        return Features(
            matrix("terms", read("terms.data"), terms),
            read("doc_NE").astype(np.float32) if (folder / "doc_NE.npy").is_file() else None,
            matrix("gold", np.ones(len(read("gold.indices")), bool), labels),
            read("train_N"),
            read("validation_N"),
            read("trained_hashes"),
        )


def read_features(
    run: FitRun,
    store: Store,
    labels: LabelSet,
    weigh: TfIdf,
    encode: Callable[[list[str], list[str]], Embedded] | None,
    report: CorpusReport,
    progress: Progress,
) -> Features:
    """One pass over the corpus; documents that cannot be encoded are neither trained nor measured on.

    Raises:
        CorpusError: no training document has a label of the label set.
    """
    terms: list[sp.csr_matrix] = []
    ids: list[str] = []
    texts: list[str] = []
    collected = Collected()
    for part in read_training(run, store, labels, report, progress):
        terms.append(weigh.transform(part.texts))
        collected.add(part)
        if encode is not None:
            ids += part.ids
            texts += part.texts
    read = collected.read(run, len(labels))
    check_trainable(read, report)
    doc_NV = sp.csr_matrix(sp.vstack(terms, format="csr"), dtype=np.float32)
    doc_NE, good = None, np.arange(len(read.hash_N))
    if encode is not None:
        vector_GE, good = encode(ids, texts)
        doc_NE = np.zeros((len(texts), vector_GE.shape[1]), np.float32)
        doc_NE[good] = vector_GE
    every_N, validation_N = (np.intersect1d(rows, good) for rows in (read.train_N, read.validation_N))
    train_N, validation_N = (rows[read.has_label_N[rows]] for rows in (every_N, validation_N))
    return Features(doc_NV, doc_NE, read.gold, train_N, validation_N, read.hash_N[every_N])
