"""Label embeddings as matrices, dense or sparse: unit rows, which labels have one, joining, filling from text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from raytagger.errors import CorpusError
from raytagger.schema import BoolArray, FloatArray, IntArray
from raytagger.vectors import merge_top_k, top_k

Embedding = FloatArray | sp.csr_matrix
"""One row a label: dense float32 (L, D), or CSR float32 (L, V)."""

Form = TypeVar("Form", FloatArray, sp.csr_matrix, Embedding)

ROWS, COLUMNS = 1024, 16384  # of a block of similarities: 64 MB


def shape_of(embedding: Embedding) -> tuple[int, int]:
    """Labels and columns; scipy's own type of `shape` is looser."""
    return cast("tuple[int, int]", embedding.shape)


def row_lengths(embedding: Embedding) -> FloatArray:
    """float32 (L,), the Euclidean length of each row, summed in double precision.

    Raises:
        CorpusError: a row has a value that is NaN or infinite.
    """
    if isinstance(embedding, np.ndarray):
        square_L = np.einsum("ld,ld->l", embedding, embedding, dtype=np.float64)
    else:
        square_L = _squares(embedding)
    length_L = np.sqrt(square_L)
    wrong_L = np.flatnonzero(~np.isfinite(length_L))
    if len(wrong_L):
        raise CorpusError(
            "a label embedding has values that are not finite",
            got=f"label {wrong_L[0]}, {len(wrong_L)} labels in all",
            expected="finite numbers",
            remedy="Look at what made the embeddings: an encoder's overflow or a division by zero.",
        )
    return length_L.astype(np.float32)


def _squares(embedding: sp.csr_matrix) -> npt.NDArray[np.float64]:
    """The sum of squares of each row, over blocks of rows, since what is built is larger than the matrix."""
    rows = len(embedding.indptr) - 1
    blocks: list[npt.NDArray[Any]] = [np.empty(0)]
    for start in range(0, rows, COLUMNS):
        offset = embedding.indptr[start : start + COLUMNS + 1]
        row_of = np.repeat(np.arange(len(offset) - 1), np.diff(offset))
        square = np.square(embedding.data[offset[0] : offset[-1]], dtype=np.float64)
        blocks.append(np.bincount(row_of, square, len(offset) - 1))
    return np.concatenate(blocks)


def scale_rows(embedding: Form, scale_L: FloatArray) -> Form:
    """A copy whose rows are multiplied by `scale_L`, float32 (L,)."""
    if isinstance(embedding, np.ndarray):
        return (embedding * scale_L[:, None]).astype(np.float32, copy=False)
    value = embedding.data * np.repeat(scale_L, np.diff(embedding.indptr))
    parts = value.astype(np.float32, copy=False), embedding.indices.copy(), embedding.indptr.copy()
    scaled: Any = sp.csr_matrix(parts, shape=shape_of(embedding))
    return scaled


def unit_rows(embedding: Form) -> Form:
    """A copy whose rows have unit length; zero rows stay zero."""
    return scale_rows(embedding, inverse(row_lengths(embedding)))


def inverse(length_L: FloatArray) -> FloatArray:
    """1 / length, and 0 where the length is 0."""
    return np.divide(1, length_L, out=np.zeros_like(length_L), where=length_L > 0)


def has_vector(embedding: Embedding) -> BoolArray:
    """Bool (L,), False for zero rows: labels of which nothing is known."""
    return row_lengths(embedding) > 0


def concatenate(parts: Sequence[Embedding], weights: Sequence[float]) -> Embedding:
    """Embeddings of the same labels side by side, each with unit rows times its weight.

    Args:
        parts: dense or sparse, L rows each; the result is sparse if any part is.
        weights: one a part; the cosine of two labels is the mean of the parts' cosines by squared weight, where
            both labels have all parts.
    """
    scaled = [
        scale_rows(part, np.float32(weight) * inverse(row_lengths(part)))
        for part, weight in zip(parts, weights, strict=True)
    ]
    dense = [part for part in scaled if isinstance(part, np.ndarray)]
    if len(dense) == len(scaled):
        return np.concatenate(dense, axis=1)
    return sp.csr_matrix(sp.hstack([sp.csr_matrix(part) for part in scaled], format="csr", dtype=np.float32))


def fill_from_text(
    embedding_LD: FloatArray, has_L: BoolArray, text_LE: Embedding, neighbours: int = 10
) -> FloatArray:
    """Gives the labels without an embedding one, from the labels whose texts are most like theirs.

    Such a label gets the mean of its neighbours' unit embeddings, weighted by the cosine of the texts and scaled to
    unit length. A label whose text is like no other's gets the mean of all. The other rows stay as they are.
    Memory is bounded by a block of similarities, time is (labels without) x (labels with) x E.

    Args:
        embedding_LD: float32 (L, D), rows of labels without an embedding are ignored.
        has_L: bool (L,), which labels have one.
        text_LE: embeddings of all labels' texts, dense or sparse.
        neighbours: how many labels a label is placed by, ties by smaller index.

    Returns:
        float32 (L, D), a new array.

    Raises:
        CorpusError: no label has an embedding.
    """
    known_L, missing_L = np.flatnonzero(has_L), np.flatnonzero(~has_L)
    filled_LD = embedding_LD.astype(np.float32, copy=True)
    if len(missing_L) == 0:
        return filled_LD
    if len(known_L) == 0:
        raise CorpusError("no label has an embedding that others could be placed by", got=f"{len(has_L)} labels")
    known_KD = unit_rows(embedding_LD[known_L])
    text_LE = unit_rows(text_LE)
    centre_D = known_KD.mean(axis=0)
    for start in range(0, len(missing_L), ROWS):
        missing = missing_L[start : start + ROWS]
        place_BK, cosine_BK = _nearest(text_LE[missing], text_LE, known_L, neighbours)
        mean_BD = np.einsum("bk,bkd->bd", cosine_BK, known_KD[place_BK])
        mean_BD[~mean_BD.any(axis=1)] = centre_D
        filled_LD[missing] = unit_rows(mean_BD)
    return filled_LD


def _nearest(
    text_BE: Embedding, text_LE: Embedding, known_L: npt.NDArray[np.intp], neighbours: int
) -> tuple[IntArray, FloatArray]:
    """Places in `known_L` and cosines of the nearest known labels, (B, K); 0 where a cosine is not positive."""
    best = top_k(np.empty((shape_of(text_BE)[0], 0), np.float32), neighbours)
    for start in range(0, len(known_L), COLUMNS):
        cosine_BL = text_BE @ text_LE[known_L[start : start + COLUMNS]].T
        block_BL = cosine_BL if isinstance(cosine_BL, np.ndarray) else cosine_BL.toarray()
        best = merge_top_k(best, top_k(block_BL, neighbours, start), neighbours)
    return best.label_BK, np.maximum(best.score_BK, 0)
