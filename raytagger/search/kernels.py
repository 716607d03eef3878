"""The compiled inside of the beam search; `layout.py` draws the memory that it walks through.

One kernel serves batches and single documents. It is compiled once, kept on disk, and lets go of Python's lock, so
that plain threads share a batch. Every array that comes in is read-only: numba would compile another kernel for
writable ones. Numbers that index arrays are uint64 throughout, since numba makes floats of mixed signs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from raytagger.labels.tree import MOST_SIBLINGS
from raytagger.schema import BoolArray, FloatArray, IntArray
from raytagger.search.layout import LANES, OFFSET, SIBLING, WORD, CountArray, Layout, WordArray
from raytagger.search.transforms import ADD, LOG_SIGMOID, MULTIPLY, Scoring

ALL_KEPT = 64  # levels wider than this that are kept whole are sorted at the end, not place by place

_WORD = np.uint64(WORD)
_ONE = np.uint64(1)
_SIBLING = np.uint32(SIBLING)
_OFFSET = np.uint32(OFFSET)


class Documents(NamedTuple):
    """Features of a batch, and the order in which its documents are worked on.

    Attributes:
        start: int64 (B + 1,), where each document's features start.
        feature: int32, the features' numbers.
        value: float32, their values.
        dense_BE: float32 (B, E), or (0, 0).
        order: int32, the rows to work on.
    """

    start: npt.NDArray[np.int64]
    feature: IntArray
    value: FloatArray
    dense_BE: FloatArray
    order: IntArray


class Beams(NamedTuple):
    """The best places of each document at one level, best first; written by the kernel.

    Attributes:
        node_BJ: uint64 (B, J), nodes: 0 is the root, p + 1 is place p of all levels.
        score_BJ: float32 (B, J).
        count_B: int64 (B,), how many.
    """

    node_BJ: CountArray
    score_BJ: FloatArray
    count_B: npt.NDArray[np.int64]


class Best(NamedTuple):
    """The best nodes of the level that is searched: uint64 and float32 (kept at most,)."""

    node: CountArray
    score: FloatArray


class Terms(NamedTuple):
    """One document's features; then, from `rank` on, those of them that the node in hand has a row for."""

    word: CountArray
    bit: CountArray
    value: FloatArray
    rank: CountArray
    start: WordArray
    stop: WordArray
    hit: FloatArray


class Steps(NamedTuple):
    """The levels `first` to `last` (not included), the places kept a level, and the labels kept."""

    first: int
    last: int
    beam: int
    k: int


# An intrinsic is called without its first argument, which type checkers cannot know.
@intrinsic
def _prefetch_line(typing: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line of `array[index]`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        place = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        builder.call(function, [place, *(ir.Constant(number, flag) for flag in (0, 3, 1))])  # read, keep, data
        return context.get_dummy_value()

    return types.void(array, index), generate


@intrinsic
def _count_ones(typing: Any, word: Any) -> Any:
    """How many bits of a word are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return word(word), generate


_prefetch: Any = _prefetch_line
_count_bits: Any = _count_ones
_COMPILED: Any = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
_COMPILED_SUMS: Any = {**_COMPILED, "fastmath": {"contract", "reassoc", "nsz"}}  # in any order, so in vectors


@njit(**_COMPILED)
def _width(layout: Layout, level: int) -> Any:
    """Places of a level; numba does not know a NamedTuple's methods."""
    return np.int64(layout.level_place[level + 1] - layout.level_place[level])


@njit(**_COMPILED)
def _make_terms(room: Any) -> Terms:
    word, bit, rank = np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(room, np.uint64)
    start, stop = np.empty(room, np.uint32), np.empty(room, np.uint32)
    return Terms(word, bit, np.empty(room, np.float32), rank, start, stop, np.empty(room, np.float32))


@njit(**_COMPILED)
def _split_features(layout: Layout, documents: Documents, document: int, terms: Terms) -> int:
    """Where each feature of a document is in a node's records; how many it has, or -1 if one is impossible."""
    features = np.uint64(len(layout.known_V))
    renumbered = len(layout.number_V) > 0
    start = documents.start[document]
    count = documents.start[document + 1] - start
    for term in range(count):
        feature = np.uint64(documents.feature[start + term])
        value = documents.value[start + term]
        if feature >= features or not np.isfinite(value):
            return -1
        if renumbered:
            feature = np.uint64(layout.number_V[feature])
        word = feature // _WORD
        terms.word[term] = word
        terms.bit[term] = feature - word * _WORD
        terms.value[term] = value
    return count


@njit(**_COMPILED)
def _start(layout: Layout, first: Any, children: int, margin: FloatArray) -> None:
    """The margins of a node's children before any feature counts: their biases."""
    for child in range(children):
        margin[child] = layout.bias_P[first + np.uint64(child)]


@njit(**_COMPILED_SUMS)
def _add_dense(
    layout: Layout, documents: Documents, document: int, first: Any, children: int, margin: FloatArray
) -> None:
    """Adds what dense features say, child by child."""
    for child in range(children):
        total, place = np.float32(0), first + np.uint64(child)
        for index in range(documents.dense_BE.shape[1]):
            total += layout.dense_PE[place, index] * documents.dense_BE[document, index]
        margin[child] += total


@njit(**_COMPILED)
def _add_products(margin_BJC: FloatArray, document: int, parent: int, children: int, margin: FloatArray) -> None:
    """Adds what dense features say where matrix products were taken before."""
    for child in range(children):
        margin[child] += margin_BJC[document, parent, child]


@njit(**_COMPILED)
def _words(layout: Layout) -> Any:
    """Records of a node."""
    return np.uint64(len(layout.record) // (len(layout.node_place) - 1))


@njit(**_COMPILED)
def _fetch_records(layout: Layout, node: Any, terms: Terms, count: int) -> None:
    """Has a node's records on their way while another node is scored."""
    first_record = node * _words(layout)
    for term in range(count):
        _prefetch(layout.record, first_record + terms.word[term])


@njit(**_COMPILED)
def _add_rows(
    layout: Layout, weight: FloatArray, node: Any, lanes: int, terms: Terms, count: int, margin: FloatArray
) -> None:
    """Adds weight times value, over a document's features, to the margins of a node's children.

    Each of the three loops asks for the memory that the next one reads: the time is spent waiting for it.
    """
    first_record = node * _words(layout)
    first_row, first_entry = layout.node_row[node], layout.node_entry[node]
    hits = 0
    for term in range(count):  # without a branch: a miss is written too, and written over by what follows
        word, bit = layout.record[first_record + terms.word[term]], terms.bit[term]
        rank = first_row + (word >> _WORD) + _count_bits(word & ((_ONE << bit) - _ONE))
        _prefetch(layout.row, rank)
        terms.rank[hits] = rank
        terms.hit[hits] = terms.value[term]
        hits += np.int64((word >> bit) & _ONE)
    for hit in range(hits):
        terms.start[hit] = layout.row[terms.rank[hit]]
        terms.stop[hit] = layout.row[terms.rank[hit] + _ONE]
        _prefetch(layout.entry, first_entry + np.uint64(terms.start[hit] & _OFFSET))
    for hit in range(hits):
        times = terms.hit[hit]
        here = first_entry + np.uint64(terms.start[hit] & _OFFSET)
        if terms.start[hit] > _OFFSET:
            for lane in range(lanes):
                margin[lane] += times * weight[here + np.uint64(lane)]
        else:
            end = first_entry + np.uint64(terms.stop[hit] & _OFFSET)
            while here < end:
                margin[np.uint64(layout.entry[here] & _SIBLING)] += times * weight[here]
                here += _ONE


@njit(**_COMPILED)
def _transform(margin: FloatArray, lanes: int, family: int) -> None:  # noqa: C901  one loop a family
    """Margins become the transform's values or their logarithms, in place, by loops without a branch."""
    one, zero = np.float32(1), np.float32(0)
    if family == LOG_SIGMOID:
        for lane in range(lanes):
            margin[lane] = min(margin[lane], zero) - np.log1p(np.exp(-abs(margin[lane])))
    elif family == 1:
        for lane in range(lanes):
            margin[lane] = min(margin[lane] - one, zero)
    elif family == 2:
        for lane in range(lanes):
            short = min(margin[lane] - one, zero)
            margin[lane] = -short * short
    elif family == 3:
        for lane in range(lanes):
            short = min(margin[lane] - one, zero)
            margin[lane] = short * short * short
    elif family == 4:
        for lane in range(lanes):
            short = min(margin[lane] - one, zero)
            margin[lane] = -(short * short) * (short * short)


@njit(**_COMPILED)
def _combine(margin: FloatArray, lanes: int, above: Any, scoring: Scoring) -> None:
    """The children's own scores become those of their whole paths, in place."""
    if scoring.exponential:
        for lane in range(lanes):
            margin[lane] = np.exp(margin[lane])
    for lane in range(lanes if scoring.combine == ADD else 0):
        margin[lane] += above
    for lane in range(lanes if scoring.combine == MULTIPLY else 0):
        margin[lane] *= above


@njit(**_COMPILED)
def _insert(best: Best, count: int, kept: int, score: Any, node: Any) -> int:
    """Puts a node where it belongs among the best, which the caller knows; how many these are then."""
    place = count if count < kept else kept - 1
    while place > 0 and best.score[place - 1] < score:
        best.score[place] = best.score[place - 1]
        best.node[place] = best.node[place - 1]
        place -= 1
    best.score[place] = score
    best.node[place] = node
    return min(count + 1, kept)


@njit(**_COMPILED)
def _write_beam(beams: Beams, document: int, best: Best, count: int, whole: bool) -> None:
    """The best nodes become the document's beam; a level that is kept whole is sorted only now."""
    beams.count_B[document] = count
    if whole:
        order = np.argsort(-best.score[:count], kind="mergesort")
        for turn in range(count):
            beams.node_BJ[document, turn] = best.node[order[turn]]
            beams.score_BJ[document, turn] = best.score[order[turn]]
    else:
        for turn in range(count):
            beams.node_BJ[document, turn] = best.node[turn]
            beams.score_BJ[document, turn] = best.score[turn]


@njit(**_COMPILED)
def _write_best(
    layout: Layout, best: Best, count: int, finish: bool, document: int, label_BK: IntArray, score_BK: FloatArray
) -> None:
    """The best leaves become labels with final scores, ties by the smaller label."""
    leaves = layout.level_place[len(layout.level_place) - 2] + _ONE
    for turn in range(count):
        score = np.exp(best.score[turn]) if finish else best.score[turn]
        label = layout.label_P[best.node[turn] - leaves]
        place = turn
        while place > 0:
            before = score_BK[document, place - 1]
            if before > score or (before == score and label_BK[document, place - 1] < label):
                break
            score_BK[document, place] = before
            label_BK[document, place] = label_BK[document, place - 1]
            place -= 1
        score_BK[document, place] = score
        label_BK[document, place] = label


@njit(**_COMPILED)
def search_levels(  # noqa: C901  a kernel is one loop in another
    layout: Layout,
    documents: Documents,
    allowed_P: BoolArray,
    margin_BJC: FloatArray,
    scoring: Scoring,
    steps: Steps,
    beams: Beams,
    label_BK: IntArray,
    score_BK: FloatArray,
) -> int:
    """Goes down some levels with each document.

    Args:
        allowed_P: bool (places,), which places have an allowed label below; (0,) where all have.
        margin_BJC: float32 (B, J, children at most), what dense features add to the margins of the children of each
            node in the beam, or (0, 0, 0): then the kernel multiplies itself, if there are dense features.
        beams: read above the first level and written at the last one, unless that has the labels.
        label_BK, score_BK: (B, K), written at the last level of the tree; places not taken stay as they are.

    Returns:
        A document with an impossible feature or value, or -1. Documents after it were not searched.
    """
    depth = len(layout.level_place) - 1
    room, longest = 1, np.int64(0)
    for level in range(steps.first, steps.last):
        room = max(room, min(steps.k if level == depth - 1 else steps.beam, _width(layout, level)))
    for document in documents.order:
        longest = max(longest, documents.start[document + 1] - documents.start[document])
    best = Best(np.empty(room, np.uint64), np.empty(room, np.float32))
    terms = _make_terms(longest + 1)
    margin = np.zeros(MOST_SIBLINGS, np.float32)
    weight = layout.entry.view(np.float32)
    limited, multiplied, dense = len(allowed_P) > 0, margin_BJC.shape[2] > 0, documents.dense_BE.shape[1] > 0
    for document in documents.order:
        features = _split_features(layout, documents, document, terms)
        if features < 0:
            return document
        for level in range(steps.first, steps.last):
            width = _width(layout, level)
            kept = min(steps.k if level == depth - 1 else steps.beam, width)
            whole = kept == width and kept > ALL_KEPT
            count = 0
            for parent in range(beams.count_B[document]):
                above = beams.score_BJ[document, parent]
                if count == kept and scoring.bounded and above <= best.score[kept - 1]:
                    break
                node = beams.node_BJ[document, parent]
                first = layout.node_place[node]
                children: Any = np.int64(layout.node_place[node + _ONE] - first)
                lanes = (children + LANES - 1) // LANES * LANES
                _start(layout, first, children, margin)
                if multiplied:
                    _add_products(margin_BJC, document, parent, children, margin)
                elif dense:
                    _add_dense(layout, documents, document, first, children, margin)
                for lane in range(children, lanes):
                    margin[lane] = 0
                _add_rows(layout, weight, node, lanes, terms, features, margin)
                if parent + 1 < beams.count_B[document]:
                    _fetch_records(layout, beams.node_BJ[document, parent + 1], terms, features)
                _transform(margin, lanes, scoring.family)
                _combine(margin, lanes, above, scoring)
                for child in range(children):
                    score = margin[child]
                    if count == kept and score <= best.score[kept - 1]:
                        continue
                    place = first + np.uint64(child)
                    if limited and not allowed_P[place]:
                        continue
                    if whole:
                        best.score[count] = score
                        best.node[count] = place + _ONE
                        count += 1
                    else:
                        count = _insert(best, count, kept, score, place + _ONE)
            if level == depth - 1:
                _write_best(layout, best, count, scoring.finish, document, label_BK, score_BK)
                continue
            _write_beam(beams, document, best, count, whole)
    return -1
