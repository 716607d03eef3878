"""The memory-mapped layout of a label tree's weights, made so that a search touches little memory.

A node's children are scored together. Node 0 is the root; node p + 1 is place p, where the places of all levels
stand one after another, so that the children of every node are neighbours and no table of numbers is needed.
For each node:

    record   one 64-bit word for every 44 features: 44 bits tell which of them have a row here,
             20 bits how many rows come before:   | rank (20) | bit 43 … bit 0 |
    row      where each row starts among the node's entries, and one more for the end; bit 31 marks a dense row
    entry    the rows. Sparse: one word a weight, a float32 whose lowest eight bits are the sibling's number
             | float (24) | sibling (8) |, used as a float as it stands, at most 2^-16 off relatively.
             Dense, where a third of the siblings have a weight: plain float32, one a sibling, padded to 8.

Features are numbered by how frequent they are, so that what is read often lies together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from raytagger.errors import BundleError
from raytagger.labels.tree import MOST_SIBLINGS, LabelTree
from raytagger.schema import BoolArray, FloatArray, IntArray

WORD = 44  # features a record
MOST_ROWS = 1 << 20  # what a record's rank can count
LANES = 8  # float32 of an AVX register; dense rows are padded to it
OFFSET, SIBLING = 0x7FFFFFFF, 0xFF  # of a row's start without bit 31; of an entry
DENSE_ROW = 0.34  # share of siblings from which a plain row is faster than a list
LARGEST, SMALLEST = 1e30, 1e-30  # weights beyond are damage; below they are zero

CountArray = npt.NDArray[np.uint64]
WordArray = npt.NDArray[np.uint32]


class Layout(NamedTuple):
    """Arrays of a tree's weights, read-only; `nodes` are those with children, `places` those of all levels.

    Attributes:
        level_place: uint64 (levels + 1,), the first place of each level.
        node_place: uint64 (nodes + 1,), the first child of each node.
        node_row: uint64 (nodes + 1,), where each node's rows start.
        node_entry: uint64 (nodes + 1,), where each node's entries start.
        record: uint64 (nodes x words,), words = ceil(V / 44).
        row: uint32, one a row, one more a node, and one at the end that a lookup may touch.
        entry: uint32.
        bias_P: float32 (places,).
        label_P: int32 (places of the last level,).
        known_V: bool (V,), whether any node has a weight for a feature.
        number_V: int32 (V,), the layout's own number of each feature, or (0,) where they are the same.
        dense_PE: float32 (places, E), the weights of dense features, or (0, 0).
    """

    level_place: CountArray
    node_place: CountArray
    node_row: CountArray
    node_entry: CountArray
    record: CountArray
    row: WordArray
    entry: WordArray
    bias_P: FloatArray
    label_P: IntArray
    known_V: BoolArray
    number_V: IntArray
    dense_PE: FloatArray

    @property
    def depth(self) -> int:
        """Levels below the root."""
        return len(self.level_place) - 1

    @property
    def features(self) -> int:
        """V."""
        return len(self.known_V)

    def width(self, level: int) -> int:
        """Places of a level."""
        return int(self.level_place[level + 1] - self.level_place[level])

    def parents(self, level: int) -> npt.NDArray[np.int64]:
        """int64 (places of the level,), the node of the level above each; not for level 0."""
        first, stop = (int(place) + 1 for place in self.level_place[level - 1 : level + 1])
        children = np.diff(self.node_place[first : stop + 1]).astype(np.int64)
        return np.repeat(np.arange(stop - first), children)

    def leaves_below(self, level: int, nodes: npt.NDArray[np.integer]) -> BoolArray:
        """Leaves, bool (places of the last level,), below some nodes of a level."""
        below = np.zeros(self.width(level), bool)
        below[nodes] = True
        for deeper in range(level + 1, self.depth):
            below = below[self.parents(deeper)]
        return below

    def places_above(self, leaf_P: BoolArray) -> BoolArray:
        """Places, bool (places of all levels,): these leaves and every node above one of them."""
        levels = [leaf_P]
        for level in range(self.depth - 1, 0, -1):
            above = np.zeros(self.width(level - 1), bool)
            above[self.parents(level)[levels[0]]] = True
            levels.insert(0, above)
        return np.concatenate(levels)


_TYPES = {
    **dict.fromkeys(("level_place", "node_place", "node_row", "node_entry", "record"), np.uint64),
    **dict.fromkeys(("row", "entry"), np.uint32),
    **dict.fromkeys(("bias_P", "dense_PE"), np.float32),
    **dict.fromkeys(("label_P", "number_V"), np.int32),
    "known_V": np.bool_,
}


def write_layout(
    folder: Path,
    tree: LabelTree,
    weights: Sequence[sp.csc_matrix],
    dense: Sequence[FloatArray] | None = None,
    *,
    renumber: bool = False,
) -> None:
    """Writes one `.npy` file an array of `Layout`.

    Args:
        folder: is made; files of the same names are replaced.
        tree: over the labels.
        weights: one a level, float32 CSC (V + 1, places), the bias in the last row.
        dense: one a level, float32 (places, E).
        renumber: features are not numbered by frequency; the layout shall do it, by how many nodes weigh each.

    Raises:
        BundleError: weights do not fit the tree, or are not finite.
    """
    _check_weights(tree, weights, dense)
    features = _rows(weights[0]) - 1
    count_V = np.zeros(features, np.int64)
    for level in weights:
        count_V += np.bincount(level.indices, minlength=features + 1)[:features]
    number_V = np.zeros(0, np.int32)
    if renumber:
        number_V = np.empty(features, np.int32)
        number_V[np.argsort(-count_V, kind="stable")] = np.arange(features, dtype=np.int32)
    nodes = [
        _pack_node(matrix[:, start:stop], number_V)
        for matrix, offset in zip(weights, tree.offsets, strict=True)
        for start, stop in pairwise(offset)
    ]
    arrays = {
        "level_place": _starts(tree.width),
        "node_place": _starts([len(node.bias) for node in nodes]),
        "node_row": _starts([len(node.row) for node in nodes]),
        "node_entry": _starts([len(node.entry) for node in nodes]),
        "record": np.concatenate([node.record for node in nodes]),
        "row": np.concatenate([*(node.row for node in nodes), np.zeros(1, np.uint32)]),
        "entry": np.concatenate([node.entry for node in nodes]),
        "bias_P": np.concatenate([node.bias for node in nodes]),
        "label_P": tree.label_P,
        "known_V": count_V > 0,
        "number_V": number_V,
        "dense_PE": np.zeros((0, 0), np.float32) if dense is None else np.concatenate(list(dense)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        (folder / f"{name}.npy").unlink(missing_ok=True)  # a process that has the old one mapped keeps it
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array, _TYPES[name]), allow_pickle=False)


def open_layout(folder: Path) -> Layout:
    """Maps what `write_layout` wrote; takes milliseconds, and processes share its pages.

    Raises:
        BundleError: a file is missing or the arrays do not fit together.
    """
    arrays = {}
    for name in Layout._fields:
        try:
            array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BundleError(f"{name}.npy of the tree's weights cannot be opened", got=str(error)) from error
        arrays[name] = np.asarray(array)  # a plain array over the same pages: numba knows it faster
    layout = Layout(**arrays)
    _check_layout(layout)
    return layout


def read_weights(
    layout: Layout, place: int, feature_T: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """The weights of one place, read one by one, for explanations.

    Args:
        layout: of the tree.
        place: among those of all levels.
        feature_T: int32, features.

    Returns:
        Which of the features have a weight there (indices into `feature_T`), and the weights, float32.
    """
    node = int(np.searchsorted(layout.node_place, place, "right")) - 1
    sibling = place - int(layout.node_place[node])
    number_T = (layout.number_V[feature_T] if len(layout.number_V) else feature_T).astype(np.uint64)
    word_T, bit_T = np.divmod(number_T, np.uint64(WORD))
    record_T = layout.record[word_T + np.uint64(node * -(-layout.features // WORD))]
    rank_T = np.bitwise_count(record_T & ((np.uint64(1) << bit_T) - np.uint64(1))) + (record_T >> np.uint64(WORD))
    first_row, first_entry = layout.node_row[node], int(layout.node_entry[node])
    known, weights = [], []
    for term in np.flatnonzero((record_T >> bit_T) & np.uint64(1)):
        start, stop = (int(row) for row in layout.row[int(first_row + rank_T[term]) :][:2])
        row = layout.entry[first_entry + (start & OFFSET) : first_entry + (stop & OFFSET)]
        at = np.flatnonzero(row & SIBLING == sibling) if start <= OFFSET else [sibling]
        if len(at) and (weight := row.view(np.float32)[at[0]]):
            known.append(term)
            weights.append(weight)
    return np.array(known, np.int64), np.array(weights, np.float32)


class _Node(NamedTuple):
    record: CountArray
    row: WordArray
    entry: WordArray
    bias: FloatArray


def _pack_node(weight: sp.csc_matrix, number_V: IntArray) -> _Node:
    """The children of one node: float32 CSC (V + 1, children), columns in the order of the siblings."""
    features = _rows(weight) - 1
    children = len(weight.indptr) - 1
    feature = weight.indices
    sibling = np.repeat(np.arange(children, dtype=np.uint32), np.diff(weight.indptr))
    value = np.asarray(weight.data, np.float32)
    of_bias = feature == features
    bias = np.zeros(children, np.float32)
    bias[sibling[of_bias]] = value[of_bias]
    kept = ~of_bias & (np.abs(value) > SMALLEST)
    feature, sibling, value = feature[kept], sibling[kept], value[kept]
    if len(number_V):
        feature = number_V[feature]
    order = np.argsort(feature, kind="stable")  # siblings stay in order within a feature
    feature, sibling, value = feature[order], sibling[order], value[order]
    row_feature, row_start, row_length = np.unique(feature, return_index=True, return_counts=True)
    padded = -(-children // LANES) * LANES
    row_dense = (row_length >= DENSE_ROW * padded) & (row_length > 4)
    offset = np.cumsum([0, *np.where(row_dense, padded, row_length)])
    row_of = np.repeat(np.arange(len(row_feature)), row_length)
    in_row = np.arange(len(feature)) - row_start[row_of]
    entry = np.zeros(offset[-1], np.uint32)
    in_dense = row_dense[row_of]
    entry[offset[row_of[~in_dense]] + in_row[~in_dense]] = _pack(value[~in_dense], sibling[~in_dense])
    entry.view(np.float32)[offset[row_of[in_dense]] + sibling[in_dense]] = value[in_dense]
    row = offset.astype(np.uint32)
    row[:-1] |= row_dense.astype(np.uint32) << np.uint32(31)
    return _Node(_pack_record(row_feature, features), row, entry, bias)


def _pack(value: FloatArray, sibling: WordArray) -> WordArray:
    """The nearest float32 whose lowest eight bits are the sibling's number."""
    bits = value.view(np.uint32).astype(np.int64) - sibling + 128
    return ((bits >> 8 << 8) | sibling).astype(np.uint32)


def _pack_record(row_feature: npt.NDArray[Any], features: int) -> CountArray:
    """Bits and ranks of a node's rows."""
    words = -(-features // WORD)
    word, bit = np.divmod(row_feature, WORD)
    if len(row_feature) >= MOST_ROWS:
        raise BundleError(
            "a node of the tree weighs too many features",
            got=len(row_feature),
            expected=f"fewer than {MOST_ROWS}",
            remedy="Use a smaller vocabulary or a higher threshold.",
        )
    count = np.bincount(word, minlength=words)
    record = (np.cumsum(count) - count).astype(np.uint64) << np.uint64(WORD)
    np.bitwise_or.at(record, word, np.uint64(1) << bit.astype(np.uint64))
    return record


def _starts(counts: Sequence[int]) -> CountArray:
    return np.cumsum([0, *counts]).astype(np.uint64)


def _rows(matrix: sp.csc_matrix) -> int:
    return cast("tuple[int, int]", matrix.shape)[0]


def _check_weights(tree: LabelTree, weights: Sequence[sp.csc_matrix], dense: Sequence[FloatArray] | None) -> None:
    expected = [(_rows(weights[0]), places) for places in tree.width]
    got = [matrix.shape for matrix in weights]
    if got != expected:
        raise BundleError("weights do not fit the label tree", got=got, expected=str(expected))
    for level, matrix in enumerate(weights):
        _check_finite(matrix.data, f"weights of level {level}")
    if dense is None:
        return
    got = [matrix.shape for matrix in dense]
    expected = [(places, dense[0].shape[1]) for places in tree.width]
    if got != expected:
        raise BundleError("dense weights do not fit the label tree", got=got, expected=str(expected))
    for level, matrix in enumerate(dense):
        _check_finite(matrix, f"dense weights of level {level}")


def _check_finite(values: npt.NDArray[Any], what: str) -> None:
    if not (np.abs(values) < LARGEST).all():
        raise BundleError(
            f"{what} are not all finite",
            got=f"{values[~(np.abs(values) < LARGEST)][:3]}",
            expected=f"numbers below {LARGEST:g}",
            remedy="The training diverged or a file is damaged; train this level again.",
        )


def _check_layout(layout: Layout) -> None:
    """Whether arrays fit together, from their shapes and from one look at each node; contents are not read."""
    for name, array in layout._asdict().items():
        if array.dtype != _TYPES[name] or array.ndim != 1 + (name == "dense_PE") or not array.flags.c_contiguous:
            raise BundleError(
                f"{name}.npy of the tree's weights is of another type", got=(array.dtype, array.shape)
            )
    nodes, places = len(layout.node_place) - 1, len(layout.bias_P)
    words = -(-layout.features // WORD)
    starts = (
        (layout.level_place, places),
        (layout.node_place, places),
        (layout.node_row, len(layout.row) - 1),
        (layout.node_entry, len(layout.entry)),
    )
    fits = (
        all(_are_starts(start, total) for start, total in starts)
        and nodes == len(layout.node_row) - 1 == len(layout.node_entry) - 1
        and nodes == 1 + places - layout.width(layout.depth - 1)
        and len(layout.record) == nodes * words
        and len(layout.label_P) == layout.width(layout.depth - 1)
        and len(layout.number_V) in (0, layout.features)
        and len(layout.dense_PE) in (0, places)
        and _nodes_fit(layout, words)
    )
    if not fits:
        raise BundleError(
            "the arrays of the tree's weights do not fit together",
            got={name: array.shape for name, array in layout._asdict().items()},
            remedy="Files of two trees were mixed or one is cut off; write the layout again.",
        )


def _are_starts(start: CountArray, total: int) -> bool:
    return len(start) >= 2 and start[0] == 0 and start[-1] == total and bool((start[1:] >= start[:-1]).all())


def _nodes_fit(layout: Layout, words: int) -> bool:
    """Each node has children of one level, and its last record and last row end where its arrays end."""
    children = np.diff(layout.node_place)
    rows = np.diff(layout.node_row)
    if not (children >= 1).all() or (children > MOST_SIBLINGS).any() or not (rows >= 1).all():
        return False
    last = layout.record[words - 1 :: words]
    ranks = (last >> np.uint64(WORD)) + np.bitwise_count(last & np.uint64((1 << WORD) - 1))
    numbers = (layout.number_V, layout.features), (layout.label_P, None)
    return (
        bool(np.isin(layout.level_place, layout.node_place).all())
        and np.array_equal(ranks + np.uint64(1), rows)
        and np.array_equal(layout.row[layout.node_row[1:] - np.uint64(1)], np.diff(layout.node_entry))
        and all((array >= 0).all() and (most is None or (array < most).all()) for array, most in numbers)
    )
