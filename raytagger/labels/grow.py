"""Grows a label tree: balanced spherical k-means, from the root down."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from raytagger.errors import CorpusError, SettingsError
from raytagger.labels.embeddings import Embedding, inverse, row_lengths, scale_rows, shape_of
from raytagger.labels.tree import MOST_SIBLINGS, LabelTree, OffsetArray
from raytagger.schema import FloatArray, IntArray

SAMPLE = 65_536  # labels that move the two centres; the others are only assigned
ITERATIONS = 20
STARTS = 4


def grow_tree(
    embedding: Embedding, splits: int, leaf: int, seed: int, label_L: npt.ArrayLike | None = None
) -> LabelTree:
    """A tree whose siblings hold the same number of labels, give or take one, and labels that are alike.

    Every node is cut into `splits` children, the root into as few as are needed for the last nodes to hold at most
    `leaf` labels; those are their children. With at most `leaf` labels the tree is one level of labels. Nodes are
    cut in two by 2-means, and the halves again: the halves' shares of the labels are set beforehand, and labels
    go by the difference of their cosines to the two centres. Labels without an embedding (zero rows) go wherever
    there is room.

    Time is O(nnz log(L / leaf)); beside the embedding, memory is a copy of at most 65,536 rows.

    Args:
        embedding: dense float32 (L, D) or CSR float32 (L, V), rows of any length; nothing is changed.
        splits: children of a node, 2 to 256.
        leaf: the most labels below a last node, 1 to 256.
        seed: of the samples and first centres; the same seed gives the same tree.
        label_L: int32, which labels take part; all if None.

    Raises:
        SettingsError: `splits` or `leaf` out of range.
        CorpusError: no label takes part, a label outside the embedding, or an embedding that is not finite.

    Source: PECOS (Yu et al. 2022), hierarchical balanced 2-means; MatchXML, section III-C. Differs: the number of
    children needs no power of two, since the halves need not be equal.
    """
    for name, value, least in (("splits", splits, 2), ("leaf", leaf, 1)):
        if not least <= value <= MOST_SIBLINGS:
            raise SettingsError(f"{name} of a label tree", got=value, expected=f"{least} to {MOST_SIBLINGS}")
    rows = _UnitRows(embedding)
    label_P = _taking_part(label_L, rows.labels)
    offsets, bounds = _plan(len(label_P), splits, leaf)
    for bound, offset in zip(bounds[1:], offsets[:-1], strict=True):
        for start, stop in pairwise(offset):
            _arrange(rows, label_P, bound[start : stop + 1], seed)
    for start, stop in pairwise(bounds[-1]):
        label_P[start:stop].sort()
    return LabelTree(tuple(offsets), label_P)


def _taking_part(label_L: npt.ArrayLike | None, labels: int) -> IntArray:
    label_P = np.arange(labels, dtype=np.int32) if label_L is None else np.unique(np.asarray(label_L, np.int32))
    if len(label_P) == 0:
        raise CorpusError("a label tree without labels", expected="one label at least")
    if label_P[0] < 0 or label_P[-1] >= labels:
        raise CorpusError(
            "a label without an embedding is to be in the tree",
            got=int(label_P[0] if label_P[0] < 0 else label_P[-1]),
            expected=f"0 to {labels - 1}",
        )
    return label_P


def _plan(labels: int, splits: int, leaf: int) -> tuple[list[OffsetArray], list[OffsetArray]]:
    """The shape of the tree, which hangs on numbers alone.

    Returns:
        The offsets of each level (see `LabelTree`), and for each level of nodes, from the root, the places of the
        labels below them: node c holds `bound[c]:bound[c + 1]`.
    """
    last_nodes = -(-labels // leaf)
    depth = 0
    while splits**depth < last_nodes:
        depth += 1
    children = [splits] * depth
    if depth:
        children[0] = -(-last_nodes // splits ** (depth - 1))
    offsets, sizes = [], [labels]
    bounds = [np.array([0, labels])]
    for most in children:
        parts = [_even(size, min(most, size)) for size in sizes]
        offsets.append(np.cumsum([0, *map(len, parts)]))
        sizes = [size for part in parts for size in part]
        bounds.append(np.cumsum([0, *sizes]))
    return [*offsets, bounds[-1]], bounds


def _even(size: int, parts: int) -> list[int]:
    """Sizes that differ by one at most."""
    return [size // parts + (part < size % parts) for part in range(parts)]


def _arrange(rows: _UnitRows, label_P: IntArray, bound: OffsetArray, seed: int) -> None:
    """Orders the labels at `bound[0]:bound[-1]` so that those between two bounds are alike."""
    if len(bound) <= 2:
        return
    middle = len(bound) // 2
    start, cut, stop = int(bound[0]), int(bound[middle]), int(bound[-1])
    # Seeded by place, so that a part of the tree does not hang on the order of the work.
    rng = np.random.default_rng([seed, start, stop])
    label_P[start:stop] = _bisect(rows, label_P[start:stop], cut - start, rng)
    _arrange(rows, label_P, bound[: middle + 1], seed)
    _arrange(rows, label_P, bound[middle:], seed)


def _bisect(rows: _UnitRows, label_S: IntArray, left: int, rng: np.random.Generator) -> IntArray:
    """The labels in another order, so that the first `left` are one half of a 2-means clustering."""
    sampled_S = label_S
    if len(label_S) > SAMPLE:
        sampled_S = label_S[rng.choice(len(label_S), SAMPLE, replace=False, shuffle=False)]
    near, column_D = _without_empty_columns(rows.take(sampled_S))
    direction_D = _two_means(near, round(left / len(label_S) * len(sampled_S)), rng)
    if sampled_S is label_S:
        score_S = _products(near, direction_D)
    else:
        whole_D = np.zeros(rows.width, np.float32)
        whole_D[column_D] = direction_D
        chunks = [label_S[start : start + SAMPLE] for start in range(0, len(label_S), SAMPLE)]
        score_S = np.concatenate([_products(rows.take(chunk), whole_D) for chunk in chunks])
    return label_S[np.argpartition(-score_S, left - 1)]


def _two_means(near: Embedding, left: int, rng: np.random.Generator) -> FloatArray:
    """Balanced spherical 2-means: the best of `STARTS` by the sum of all rows' cosines to their centre.

    Args:
        near: unit rows (S, D).
        left: rows of the first half.
        rng: draws the first centres, two rows a start.

    Returns:
        float32 (D,), the first centre less the second: rows with the highest products are the first half.
    """
    rows = shape_of(near)[0]
    total_D = np.asarray(near.sum(axis=0), np.float32).ravel()
    best_D, highest = np.zeros_like(total_D), -np.inf
    for _ in range(STARTS):
        first, second = rng.choice(rows, 2, replace=False)
        left_S = np.zeros(rows, np.float32)
        left_S[first], left_S[second] = 1, -1
        direction_D, cosines = _sum_rows(near, left_S), 0.0
        for _ in range(ITERATIONS):
            before_S, left_S = left_S, np.zeros_like(left_S)
            left_S[np.argpartition(-_products(near, direction_D), left - 1)[:left]] = 1
            if np.array_equal(left_S, before_S):
                break
            centre_D = _sum_rows(near, left_S)
            other_D = total_D - centre_D
            cosines = float(np.linalg.norm(centre_D) + np.linalg.norm(other_D))
            direction_D = _unit(centre_D) - _unit(other_D)
        if cosines > highest:
            best_D, highest = direction_D, cosines
    return best_D


def _products(near: Embedding, vector_D: FloatArray) -> FloatArray:
    """float32 (S,), each row times the vector."""
    # Dense by einsum: at one vector it is as fast as BLAS, and the same whatever the number of BLAS's threads.
    return np.einsum("sd,d->s", near, vector_D) if isinstance(near, np.ndarray) else near @ vector_D


def _sum_rows(near: Embedding, weight_S: FloatArray) -> FloatArray:
    """float32 (D,), the weighted sum of the rows."""
    return np.einsum("s,sd->d", weight_S, near) if isinstance(near, np.ndarray) else weight_S @ near


def _unit(vector_D: FloatArray) -> FloatArray:
    length = np.linalg.norm(vector_D)
    return (vector_D / length).astype(np.float32) if length > 0 else vector_D


class _UnitRows:
    """Rows of an embedding at unit length, scaled when they are taken, so that the whole is never copied."""

    def __init__(self, embedding: Embedding) -> None:
        if isinstance(embedding, np.ndarray):
            self._embedding: Embedding = np.ascontiguousarray(embedding, np.float32)
        else:
            self._embedding = sp.csr_matrix(embedding, dtype=np.float32)
        self.labels, self.width = shape_of(self._embedding)
        self._scale_L = inverse(row_lengths(self._embedding))

    def take(self, label_S: IntArray) -> Embedding:
        """Unit rows (S, D) of these labels."""
        return scale_rows(self._embedding[label_S], self._scale_L[label_S])


def _without_empty_columns(near: Embedding) -> tuple[Embedding, IntArray | slice]:
    """The rows without columns that are zero throughout, and the columns kept.

    A few labels have a few of the features, so that centres are short vectors deep in the tree.
    """
    if isinstance(near, np.ndarray):
        return near, slice(None)
    used_D = np.bincount(near.indices, minlength=shape_of(near)[1]) > 0
    place_D = np.cumsum(used_D, dtype=np.int32) - 1
    kept_D = np.flatnonzero(used_D).astype(np.int32)
    return sp.csr_matrix(
        (near.data, place_D[near.indices], near.indptr), shape=(len(near.indptr) - 1, len(kept_D))
    ), kept_D
