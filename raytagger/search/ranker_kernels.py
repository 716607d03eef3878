"""Dual coordinate descent on all siblings of one node at once.

The siblings share their documents, so that one pass over a document's features serves all of them; the inner loops
run over siblings, side by side in memory, and become vector instructions.

    weight_FS    features that the chunk's documents have, ascending  | siblings, padded
                 the bias
                 dense features
    dual_MS      documents of the chunk                               | the same

The padding's lanes are trained as siblings without gold documents, and thrown away.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from raytagger.schema import BoolArray, FloatArray, IntArray

LANES = 8  # siblings are padded to a multiple of it
COSTLESS = np.float32(1e30)  # an inverse cost so high that the document moves nothing

# Products may be fused with sums; nothing else may be reordered, so that the width of a machine's vectors does not
# show in the weights.
_FLOATS = {"contract"}


class Rows(NamedTuple):
    """Sparse rows: int64 (rows + 1,), int32 and float32 (entries,); columns ascend in a row."""

    offset: np.ndarray
    column: np.ndarray
    value: np.ndarray


class Chunk(NamedTuple):
    """The children of one node, from the place `first` up to `stop`.

    Attributes:
        doc_M: int32 (M,), its documents.
        active_M: bool (M,), those that train every child; the others train their own gold children alone.
        first: the first child's place.
        stop: the place after the last child's.
        seed: of the order of the documents.
    """

    doc_M: IntArray
    active_M: BoolArray
    first: int
    stop: int
    seed: int


class Rules(NamedTuple):
    """The numbers of a solver, as the kernels take them: `inverse` costs are 1 / (2 cost)."""

    inverse_positive: np.float32
    inverse_negative: np.float32
    eps: np.float32
    max_passes: int
    threshold: np.float32
    bias: np.float32


class Scratch(NamedTuple):
    """What a thread keeps from chunk to chunk: one bit a feature, all zero, uint64; and int32 (V,), anything."""

    marks: np.ndarray
    local_V: IntArray

    @classmethod
    def of(cls, features: int) -> Scratch:
        """For so many features."""
        return cls(np.zeros(features // 64 + 1, np.uint64), np.empty(features, np.int32))


@njit(cache=True, nogil=True, fastmath=_FLOATS, error_model="numpy")
def train_chunk(
    documents: Rows,
    doc_NE: FloatArray,
    gold: Rows,
    chunk: Chunk,
    rules: Rules,
    scratch: Scratch,
) -> tuple[np.ndarray, IntArray, FloatArray, FloatArray, int]:
    """Trains one chunk.

    Args:
        documents: CSR (N, V).
        doc_NE: float32 (N, E); E may be 0.
        gold: CSR (N, places), whose values are costs.
        chunk: which documents train which places.
        rules: of the solver.
        scratch: of this thread.

    Returns:
        count int64 (siblings,), weights kept of each; feature int32 and value float32 (sum of counts,), sibling by
        sibling, features ascending, feature V being the bias; dense float32 (siblings, E); passes taken.
    """
    siblings = chunk.stop - chunk.first
    lanes = (siblings + LANES - 1) // LANES * LANES
    local, feature_F = _gather(documents, chunk.doc_M, scratch)
    own = _own_gold(gold, chunk)
    doc_ME = doc_NE[chunk.doc_M]
    weight_FS = np.zeros((len(feature_F) + 1 + doc_ME.shape[1], lanes), np.float32)
    passes = _descend(local, doc_ME, own, chunk, rules, weight_FS)
    features = len(scratch.local_V)
    count_S, feature, value = _keep(weight_FS, feature_F, siblings, rules, features)
    dense_SE = weight_FS[len(feature_F) + 1 :, :siblings].T.copy()
    return count_S, feature, value, dense_SE, passes


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(documents: Rows, doc_M: IntArray, scratch: Scratch) -> tuple[Rows, IntArray]:
    """The chunk's documents with features numbered anew, and the old number of each."""
    offset, marks = np.zeros(len(doc_M) + 1, np.int64), scratch.marks
    for m in range(len(doc_M)):
        begin, end = documents.offset[doc_M[m]], documents.offset[doc_M[m] + 1]
        offset[m + 1] = offset[m] + end - begin
        for t in range(begin, end):
            column = documents.column[t]
            marks[column >> 6] |= np.uint64(1) << np.uint64(column & 63)
    # Ascending numbers: frequent features, which have small ones, lie together, and what is kept is in order.
    feature_F, found = np.empty(min(offset[-1], len(scratch.local_V)), np.int32), 0
    for word in range(len(marks)):
        bits, column = marks[word], word * 64
        marks[word] = 0
        while bits:
            if bits & np.uint64(1):
                feature_F[found], scratch.local_V[column] = column, found
                found += 1
            bits >>= np.uint64(1)
            column += 1
    local, value = np.empty(offset[-1], np.int32), np.empty(offset[-1], np.float32)
    for m in range(len(doc_M)):
        begin = documents.offset[doc_M[m]]
        for t in range(offset[m + 1] - offset[m]):
            local[offset[m] + t] = scratch.local_V[documents.column[begin + t]]
            value[offset[m] + t] = documents.value[begin + t]
    return Rows(offset, local, value), feature_F[:found]


@njit(cache=True, nogil=True, error_model="numpy")
def _own_gold(gold: Rows, chunk: Chunk) -> Rows:
    """The chunk's documents' gold siblings and their costs."""
    documents, first = len(chunk.doc_M), chunk.first
    offset, begin_M = np.zeros(documents + 1, np.int64), np.empty(documents, np.int64)
    for m, doc in enumerate(chunk.doc_M):
        places = gold.column[gold.offset[doc] : gold.offset[doc + 1]]
        skipped = np.searchsorted(places, first)
        begin_M[m] = gold.offset[doc] + skipped
        offset[m + 1] = offset[m] + np.searchsorted(places, chunk.stop) - skipped
    sibling, cost = np.empty(offset[-1], np.int32), np.empty(offset[-1], np.float32)
    for m in range(documents):
        for t in range(offset[m + 1] - offset[m]):
            sibling[offset[m] + t] = gold.column[begin_M[m] + t] - first
            cost[offset[m] + t] = gold.value[begin_M[m] + t]
    return Rows(offset, sibling, cost)


@njit(cache=True, nogil=True, fastmath=_FLOATS, error_model="numpy")
def _squares(local: Rows, doc_ME: FloatArray, bias: np.float32) -> FloatArray:
    """Each document's squared length, bias included."""
    square_M = np.empty(len(doc_ME), np.float32)
    for m in range(len(doc_ME)):
        total = bias * bias
        for t in range(local.offset[m], local.offset[m + 1]):
            total += local.value[t] * local.value[t]
        for e in range(doc_ME.shape[1]):
            total += doc_ME[m, e] * doc_ME[m, e]
        square_M[m] = total
    return square_M


@njit(cache=True, nogil=True, fastmath=_FLOATS, error_model="numpy")
def _descend(
    local: Rows,
    doc_ME: FloatArray,
    own: Rows,
    chunk: Chunk,
    rules: Rules,
    weight_FS: FloatArray,
) -> int:
    """Fills `weight_FS`; passes over the documents until every sibling's projected gradients lie within `eps`."""
    documents, lanes, siblings = len(chunk.doc_M), weight_FS.shape[1], chunk.stop - chunk.first
    square_M = _squares(local, doc_ME, rules.bias)
    dual_MS = np.zeros((documents, lanes), np.float32)
    score, step = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    sign, inverse = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    highest, lowest = np.empty(lanes, np.float32), np.empty(lanes, np.float32)
    order: Any = np.arange(documents)
    zero, one = np.float32(0), np.float32(1)
    np.random.seed(chunk.seed)  # noqa: NPY002 - the generator that numba compiles, one a thread
    for taken in range(rules.max_passes):
        highest[:], lowest[:] = -np.inf, np.inf
        for last in range(documents - 1, 0, -1):
            other = np.random.randint(last + 1)  # noqa: NPY002
            order[last], order[other] = order[other], order[last]
        for m in order:
            sign[:], inverse[:] = -one, rules.inverse_negative if chunk.active_M[m] else COSTLESS
            for t in range(own.offset[m], own.offset[m + 1]):
                sign[own.column[t]], inverse[own.column[t]] = one, rules.inverse_positive / own.value[t]
            _score(local, doc_ME, m, rules.bias, weight_FS, score)
            dual_S, moved = dual_MS[m], False
            for s in range(lanes):
                gradient = sign[s] * score[s] - one + dual_S[s] * inverse[s]
                projected = gradient if dual_S[s] > zero else min(gradient, zero)
                highest[s], lowest[s] = max(highest[s], projected), min(lowest[s], projected)
                new = max(dual_S[s] - gradient / (square_M[m] + inverse[s]), zero)
                step[s] = (new - dual_S[s]) * sign[s]
                moved |= new != dual_S[s]
                dual_S[s] = new
            if moved:
                _move(local, doc_ME, m, rules.bias, weight_FS, step)
        if np.max(highest[:siblings] - lowest[:siblings]) <= rules.eps:
            return taken + 1
    return rules.max_passes


@njit(cache=True, nogil=True, fastmath=_FLOATS, error_model="numpy")
def _score(
    local: Rows, doc_ME: FloatArray, m: int, bias: np.float32, weight_FS: FloatArray, score: FloatArray
) -> None:
    """Document m's scores under the weights as they are."""
    lanes, dense = weight_FS.shape[1], len(weight_FS) - doc_ME.shape[1]
    for s in range(lanes):
        score[s] = bias * weight_FS[dense - 1, s]
    for t in range(local.offset[m], local.offset[m + 1]):
        value, weight_S = local.value[t], weight_FS[local.column[t]]
        for s in range(lanes):
            score[s] += value * weight_S[s]
    for e in range(doc_ME.shape[1]):
        value, weight_S = doc_ME[m, e], weight_FS[dense + e]
        for s in range(lanes):
            score[s] += value * weight_S[s]


@njit(cache=True, nogil=True, fastmath=_FLOATS, error_model="numpy")
def _move(
    local: Rows, doc_ME: FloatArray, m: int, bias: np.float32, weight_FS: FloatArray, step: FloatArray
) -> None:
    """Adds document m's features to the weights, each sibling's by its own step."""
    lanes, dense = weight_FS.shape[1], len(weight_FS) - doc_ME.shape[1]
    for s in range(lanes):
        weight_FS[dense - 1, s] += bias * step[s]
    for t in range(local.offset[m], local.offset[m + 1]):
        value, weight_S = local.value[t], weight_FS[local.column[t]]
        for s in range(lanes):
            weight_S[s] += value * step[s]
    for e in range(doc_ME.shape[1]):
        value, weight_S = doc_ME[m, e], weight_FS[dense + e]
        for s in range(lanes):
            weight_S[s] += value * step[s]


@njit(cache=True, nogil=True, error_model="numpy")
def _keep(
    weight_FS: FloatArray, feature_F: IntArray, siblings: int, rules: Rules, features: int
) -> tuple[np.ndarray, IntArray, FloatArray]:
    """The weights that reach the threshold, sibling by sibling; the bias' is multiplied by the feature's value."""
    least = max(rules.threshold, np.float32(1e-30))
    count_S = np.zeros(siblings, np.int64)
    for f in range(len(feature_F) + 1):
        for s in range(siblings):
            count_S[s] += abs(weight_FS[f, s]) >= least
    place = np.cumsum(count_S) - count_S
    feature, value = np.empty(count_S.sum(), np.int32), np.empty(count_S.sum(), np.float32)
    for f in range(len(feature_F) + 1):
        old, factor = (feature_F[f], np.float32(1)) if f < len(feature_F) else (features, rules.bias)
        for s in range(siblings):
            if abs(weight_FS[f, s]) >= least:
                feature[place[s]], value[place[s]] = old, weight_FS[f, s] * factor
                place[s] += 1
    return count_S, feature, value
