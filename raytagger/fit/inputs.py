"""What training reads, as plain arrays in one folder: made once, read by every worker of every attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from raytagger.errors import CorpusError
from raytagger.fit.hidden_labels import draw_order
from raytagger.schema import BoolArray, FloatArray

LARGEST_SHARE = 0.05  # of the training documents that hidden labels may take away
VALIDATION_AT_MOST, HELD_AT_MOST = 2000, 1000  # documents: an evaluation must cost little beside training


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths in one flat array.

    Attributes:
        flat: the rows one after another, (sum of lengths, …).
        offset: int64 (rows + 1,).
    """

    flat: np.ndarray
    offset: np.ndarray

    def __len__(self) -> int:
        return len(self.offset) - 1

    def row(self, row: int) -> np.ndarray:
        """One row, a view."""
        return self.flat[self.offset[row] : self.offset[row + 1]]

    @property
    def length(self) -> np.ndarray:
        """int64 (rows,)."""
        return np.diff(self.offset)

    @staticmethod
    def of(rows: Sequence[Sequence[int]]) -> Ragged:
        """From lists of token ids."""
        offset = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        flat = np.fromiter((token for row in rows for token in row), np.int32, int(offset[-1]))
        return Ragged(flat, offset)


@dataclass(frozen=True)
class Inputs:
    """Tokens, gold labels and frozen label embeddings.

    Attributes:
        documents: token ids of N documents.
        labels: token ids of the L label texts, as the document encoder reads them.
        gold: bool CSR (N, L).
        train_N: int64, the documents that are trained on: each has a label that is.
        validation_N: int64, the documents of the validation split.
        held_N: int64, documents with a hidden label, from both splits; none of them is trained on.
        label_LE: float32 (L, E), frozen embeddings, unit rows.
        twin_L: int64 (L,), labels with the same text have the same number.
        count_L: int64 (L,), documents of each label among `train_N`: none of hidden labels, nor of those that had
            all their documents in common with hidden ones.
        hidden_L: bool (L,), seen labels that training does not see, to measure zero-shot.
        usable_L: bool (L,), active labels with a text.
        weight_DE: float32 (D, E), the label projection before training.
        bias_D: float32 (D,), of the same.
    """

    documents: Ragged
    labels: Ragged
    gold: sp.csr_matrix
    train_N: np.ndarray
    validation_N: np.ndarray
    held_N: np.ndarray
    label_LE: FloatArray
    twin_L: np.ndarray
    count_L: np.ndarray
    hidden_L: BoolArray
    usable_L: BoolArray
    weight_DE: FloatArray
    bias_D: FloatArray

    @property
    def trained_L(self) -> BoolArray:
        """Bool (L,), labels that are trained."""
        return (self.count_L > 0) & self.usable_L

    @property
    def unseen_L(self) -> BoolArray:
        """Bool (L,), usable labels that are neither trained nor hidden."""
        return self.usable_L & ~self.trained_L & ~self.hidden_L

    def save(self, folder: Path) -> None:
        """Writes one `.npy` file an array."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        for name in ("documents", "labels"):
            ragged: Ragged = getattr(self, name)
            arrays |= {f"{name}.flat": ragged.flat, f"{name}.offset": ragged.offset}
        arrays |= {"gold.indices": self.gold.indices, "gold.indptr": self.gold.indptr}
        for name, value in arrays.items():
            np.save(folder / f"{name}.npy", value)

    @staticmethod
    def load(folder: Path) -> Inputs:
        """Reads what `save` wrote; the large arrays stay on the disk."""

        def read(name: str) -> np.ndarray:
            return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

        indices, indptr = np.array(read("gold.indices")), np.array(read("gold.indptr"))
        labels = Ragged(read("labels.flat"), read("labels.offset"))
        shape = (len(indptr) - 1, len(labels))
        names = ("train_N", "validation_N", "held_N", "label_LE", "twin_L", "count_L", "hidden_L", "usable_L")
        names += ("weight_DE", "bias_D")
        return Inputs(
            Ragged(read("documents.flat"), np.array(read("documents.offset"))),
            labels,
            sp.csr_matrix((np.ones(len(indices), bool), indices, indptr), shape=shape),
            **{name: np.array(read(name)) for name in names},
        )


def hide_labels(
    gold: sp.csr_matrix, train_N: np.ndarray, usable_L: BoolArray, share: float, seed: int
) -> BoolArray:
    """Picks rare seen labels that stand in for unseen ones: bool (L,).

    Taken from the front of `draw_order` until `share` of the trained labels are hidden; a label is passed over by
    which more than a twentieth of the training documents would be taken away.
    """
    gold_NL = gold[train_N]
    count_L = np.asarray(gold_NL.sum(0)).ravel()
    trained = np.flatnonzero((count_L > 0) & usable_L)
    hidden_L, taken_N = np.zeros(len(usable_L), bool), np.zeros(len(train_N), bool)
    if not len(trained):
        return hidden_L
    by_label = gold_NL.tocsc()
    for label in draw_order(count_L, usable_L, seed):
        if hidden_L.sum() >= round(share * len(trained)):
            break
        documents = by_label.indices[by_label.indptr[label] : by_label.indptr[label + 1]]
        with_it = taken_N.copy()
        with_it[documents] = True
        if with_it.sum() <= LARGEST_SHARE * len(train_N):
            hidden_L[label], taken_N = True, with_it
    return hidden_L


def part_documents(
    gold: sp.csr_matrix,
    train_N: np.ndarray,
    validation_N: np.ndarray,
    hidden_L: BoolArray,
    usable_L: BoolArray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training, validation and held documents, as `Inputs` has them.

    Raises:
        CorpusError: no training document has a label of the label set.
    """
    has_hidden_N = np.asarray(gold[:, hidden_L].sum(1)).ravel() > 0
    has_seen_N = np.asarray(gold[:, usable_L & ~hidden_L].sum(1)).ravel() > 0
    train = train_N[has_seen_N[train_N] & ~has_hidden_N[train_N]]
    if not len(train):
        raise CorpusError(
            "no document to train on",
            got=f"{len(train_N)} documents of the training split, none with a label of the label set",
            remedy="Check source.train_split, and that documents and labels name the same ids.",
        )
    validation = validation_N[has_seen_N[validation_N]]
    both = np.concatenate([train_N, validation_N])
    rng = np.random.default_rng([seed, 2])
    held = both[has_hidden_N[both]]
    return train, _sample(validation, VALIDATION_AT_MOST, rng), _sample(held, HELD_AT_MOST, rng)


def _sample(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
