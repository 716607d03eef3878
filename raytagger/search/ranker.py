"""Linear rankers of a tree's level: which documents train them, and the solver over plain arrays.

A ranker is one node's weights, the w of least 1/2 |w|² + C Σ cost_i max(0, 1 - y_i w·x_i)². The documents i are
those that are active at the node above; y_i is 1 where the node is gold and -1 elsewhere; x_i ends in a constant,
the bias. The children of one node, a chunk, are trained together and apart from all other chunks: any part of a
level, in any process, gets the weights that it gets in the whole.

Source: Hsieh et al. 2008, A Dual Coordinate Descent Method for Large-scale Linear SVM, algorithm 3, as in PECOS
(Yu et al. 2022). Differs: siblings descend together and stop together, when the last is within `eps`; no shrinking.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from raytagger.errors import CorpusError, SettingsError
from raytagger.labels.tree import LabelTree, OffsetArray
from raytagger.schema import PAD, BoolArray, FloatArray, IntArray, Scores
from raytagger.search.ranker_kernels import LANES, Chunk, Rows, Rules, Scratch, train_chunk

SOLVER = 1  # raised when the solver gives other weights for the same input, so that stored ones are not taken
SPANS_A_THREAD = 4  # so that no thread waits long for the last one
_ACTIVE = 2
Compressed = TypeVar("Compressed", sp.csr_matrix, sp.csc_matrix)


@dataclass(frozen=True)
class RankerSettings:
    """How rankers are trained.

    Attributes:
        cost_positive: C of gold documents.
        cost_negative: C of all others.
        eps: a chunk is done when the projected gradients of each of its rankers lie within `eps`.
        max_passes: passes over a chunk's documents at most.
        threshold: sparse weights with a smaller absolute value are dropped.
        bias: the constant feature; 0 for none.
        seed: of the order of the documents.

    Raises:
        SettingsError: a value out of range.
    """

    cost_positive: float = 1.0
    cost_negative: float = 1.0
    eps: float = 0.1
    max_passes: int = 100
    threshold: float = 0.1
    bias: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("cost_positive", "cost_negative", "eps", "max_passes"):
            if not 0 < getattr(self, name) < np.inf:
                raise SettingsError(f"{name} of the rankers", got=getattr(self, name), expected="more than 0")
        for name in ("threshold", "bias", "seed"):
            if not 0 <= getattr(self, name) < np.inf:
                raise SettingsError(f"{name} of the rankers", got=getattr(self, name), expected="0 or more")

    def rules(self) -> Rules:
        """As the kernels take them."""
        return Rules(
            np.float32(0.5 / self.cost_positive),
            np.float32(0.5 / self.cost_negative),
            np.float32(self.eps),
            self.max_passes,
            np.float32(self.threshold),
            np.float32(self.bias),
        )


class LevelArrays(NamedTuple):
    """`Instances` as plain, read-only arrays; they travel between processes without a copy.

    Attributes:
        documents: rows (N, V).
        doc_NE: float32 (N, E), E = 0 where there is no dense part.
        gold: rows (N, places), values are costs.
        chunk_offset: int64 (nodes above + 1,).
        chunk_doc: int32, the documents of each chunk, ascending.
        chunk_active: bool, of the same shape: False for those that only their own gold nodes are trained on.
        offset: int64 (nodes above + 1,), the children of each node above.
        features: V.
    """

    documents: Rows
    doc_NE: FloatArray
    gold: Rows
    chunk_offset: OffsetArray
    chunk_doc: IntArray
    chunk_active: BoolArray
    offset: OffsetArray
    features: int

    def work(self) -> npt.NDArray[np.float64]:
        """float64 (nodes above,), products that one pass over each chunk takes."""
        length_N = np.diff(self.documents.offset) + self.doc_NE.shape[1] + 1
        total = np.concatenate([[0], np.cumsum(length_N[self.chunk_doc])])
        lanes = -(-np.diff(self.offset) // LANES) * LANES
        return np.diff(total[self.chunk_offset]).astype(np.float64) * lanes


@dataclass(frozen=True)
class Instances:
    """What the rankers of one level are trained on.

    Attributes:
        doc_NV: float32 CSR (N, V).
        gold: bool CSR (N, places of the level).
        active: bool, sparse (N, nodes above), which documents train each node's children. A gold document that is
            not active at the node above trains its own gold nodes alone, as a positive.
        offset: int64 (nodes above + 1,), a level of `LabelTree.offsets`.
        doc_NE: float32 (N, E), dense features beside the sparse ones, or None.
        cost: CSR (N, places of the level) with gold's own entries: each multiplies `cost_positive`; or None.

    Raises:
        CorpusError: shapes that do not fit, features that are not finite, costs that are not positive.
    """

    doc_NV: sp.csr_matrix
    gold: sp.csr_matrix
    active: sp.spmatrix
    offset: OffsetArray
    doc_NE: FloatArray | None = None
    cost: sp.csr_matrix | None = None

    def __post_init__(self) -> None:
        documents, above = len(self.doc_NV.indptr) - 1, len(self.offset) - 1
        _check_shape("gold nodes", self.gold, (documents, int(self.offset[-1])))
        _check_shape("active documents", self.active, (documents, above))
        _check_finite("sparse", self.doc_NV.data)
        if self.doc_NE is not None:
            _check_shape("dense features", self.doc_NE, (documents, self.doc_NE.shape[-1]))
            _check_finite("dense", self.doc_NE)
        if self.cost is not None:
            _check_shape("costs", self.cost, (documents, int(self.offset[-1])))

    def arrays(self) -> LevelArrays:
        """Plain arrays; what has the right type already is not copied."""
        doc_NV, gold = _sorted(self.doc_NV), _sorted(self.gold)
        chunk = self._chunks()
        cost = np.ones(gold.nnz, np.float32) if self.cost is None else _costs(_sorted(self.cost), gold)
        dense = np.zeros((len(doc_NV.indptr) - 1, 0)) if self.doc_NE is None else self.doc_NE
        return LevelArrays(
            _rows(doc_NV, doc_NV.data),
            _fixed(dense, np.float32),
            _rows(gold, cost),
            _fixed(chunk.indptr, np.int64),
            _fixed(chunk.indices, np.int32),
            _fixed(chunk.data >= _ACTIVE, np.bool_),
            _fixed(self.offset, np.int64),
            columns(doc_NV),
        )

    def _chunks(self) -> sp.csc_matrix:
        """int8 CSC (N, nodes above) of the documents that are active or gold below; `_ACTIVE` or more: active."""
        above = len(self.offset) - 1
        parent_P = np.repeat(np.arange(above), np.diff(self.offset))
        row_N = np.repeat(np.arange(len(self.gold.indptr) - 1), np.diff(self.gold.indptr))
        below = sp.csc_matrix(
            (np.ones(self.gold.nnz, bool), (row_N, parent_P[self.gold.indices])), self.active.shape
        )
        active = sp.csc_matrix(sp.csc_matrix(self.active, dtype=bool), dtype=np.int8)
        return _sorted(sp.csc_matrix(active * _ACTIVE + sp.csc_matrix(below, dtype=np.int8)))


@dataclass(frozen=True)
class ChunkWeights:
    """Weights of the places of some chunks.

    Attributes:
        count_P: int64 (P,), sparse weights of each place.
        feature: int32 (sum of counts,), place by place, ascending in each; V is the bias.
        value: float32, of the same shape; the bias' is multiplied by the constant already.
        dense_PE: float32 (P, E), the weights of the dense features; none of them is dropped.
        features: V.
    """

    count_P: npt.NDArray[np.int64]
    feature: IntArray
    value: FloatArray
    dense_PE: FloatArray
    features: int

    @classmethod
    def join(cls, parts: Sequence[ChunkWeights]) -> ChunkWeights:
        """The places of all parts, in order; at least one part."""
        names = ("count_P", "feature", "value", "dense_PE")
        joined = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
        return cls(*joined, features=parts[0].features)

    def matrix(self) -> sp.csc_matrix:
        """float32 CSC (V + 1, P)."""
        offset = np.concatenate([[0], np.cumsum(self.count_P)])
        return sp.csc_matrix((self.value, self.feature, offset), shape=(self.features + 1, len(self.count_P)))


def train_level(instances: Instances, settings: RankerSettings, threads: int = 1) -> ChunkWeights:
    """Trains all rankers of a level in this process; the number of threads changes nothing in the weights.

    Raises:
        CorpusError: costs that are not positive or not on gold's entries.
    """
    arrays = instances.arrays()
    work = arrays.work()
    spans = cut_spans(work, work.sum() / (SPANS_A_THREAD * threads))
    with ThreadPoolExecutor(threads) as pool:
        return ChunkWeights.join(list(pool.map(lambda span: train_chunks(arrays, span, settings), spans)))


def train_chunks(arrays: LevelArrays, nodes: range, settings: RankerSettings) -> ChunkWeights:
    """Trains the children of some nodes; what each gets does not depend on which others are trained.

    Memory beside the weights kept: a chunk's documents once more, its weights dense, and a dual for each of its
    documents and siblings.

    Args:
        arrays: of the level.
        nodes: of the level above, at least one.
        settings: of the solver.
    """
    scratch, rules = Scratch.of(arrays.features), settings.rules()
    parts = []
    for node in nodes:
        rows = slice(arrays.chunk_offset[node], arrays.chunk_offset[node + 1])
        chunk = Chunk(
            arrays.chunk_doc[rows],
            arrays.chunk_active[rows],
            int(arrays.offset[node]),
            int(arrays.offset[node + 1]),
            (settings.seed + node) % 2**32,
        )
        count_P, feature, value, dense_PE, _ = train_chunk(
            arrays.documents, arrays.doc_NE, arrays.gold, chunk, rules, scratch
        )
        parts.append(ChunkWeights(count_P, feature, value, dense_PE, arrays.features))
    return ChunkWeights.join(parts)


def cut_spans(work: npt.NDArray[np.float64], most: float) -> list[range]:
    """Cuts chunks into runs of at most `most` work each, or of one chunk; at least one run."""
    spans, start, total = [], 0, 0.0
    for node, cost in enumerate(work.tolist()):
        if node > start and total + cost > most:
            spans.append(range(start, node))
            start, total = node, 0.0
        total += cost
    return [*spans, range(start, len(work))]


def all_documents(documents: int) -> sp.csc_matrix:
    """Bool CSC (N, 1): the first level, which every document trains."""
    return sp.csc_matrix(np.ones((documents, 1), bool))


def teacher_forced(gold_above: sp.spmatrix) -> sp.csc_matrix:
    """Bool CSC (N, nodes above): a document trains the children of its gold nodes.

    Args:
        gold_above: bool, sparse (N, nodes above), a level of `LabelTree.gold_by_level`.

    Source: PECOS (Yu et al. 2022), section 3.3, teacher forcing negatives.
    """
    return sp.csc_matrix(gold_above, dtype=bool)


def matched(scores: Scores, nodes: int) -> sp.csc_matrix:
    """Bool CSC (N, nodes above): a document trains the children of the nodes that the matcher's beam holds.

    Args:
        scores: of the nodes above, for the training documents.
        nodes: how many nodes above there are.

    Source: PECOS (Yu et al. 2022), section 3.3, matcher-aware negatives.
    """
    row, column = np.nonzero(scores.label_BK != PAD)
    place = (row, scores.label_BK[row, column])
    return sp.csc_matrix((np.ones(len(row), bool), place), shape=(len(scores), nodes))


def unite(first: sp.csc_matrix, second: sp.csc_matrix) -> sp.csc_matrix:
    """Bool CSC (N, nodes above): the documents of either; `tfn+man` of `teacher_forced` and `matched`."""
    return sp.csc_matrix(first.maximum(second), dtype=bool)


def shared_costs(tree: LabelTree, gold: sp.csr_matrix) -> list[sp.csr_matrix]:
    """Costs by which every document weighs the same, one float32 CSR (N, places) a level.

    A document's cost at a gold node is the share of its gold labels that lie below the node.

    Args:
        tree: over labels.
        gold: bool CSR (N, L); labels outside the tree are left out.

    Source: PECOS's cost-sensitive training, relevance induced from labels, rows of unit sum.
    """
    leaf = sp.csr_matrix(gold[:, tree.label_P], dtype=np.float32)
    leaf.data[:] = 1
    counts = [leaf]
    for level in range(tree.depth - 1, 0, -1):
        parent_P = tree.parents(level)
        up = (np.ones(len(parent_P), np.float32), parent_P, np.arange(len(parent_P) + 1))
        counts.insert(0, sp.csr_matrix(counts[0] @ sp.csr_matrix(up, shape=(len(parent_P), tree.width[level - 1]))))
    total_N = np.asarray(leaf.sum(axis=1), np.float32).ravel()
    for count in counts:
        count.data /= np.repeat(total_N, np.diff(count.indptr))
        count.sort_indices()
    return counts


def _check_shape(what: str, matrix: sp.spmatrix | np.ndarray, expected: tuple[int, ...]) -> None:
    if matrix.shape != expected:
        raise CorpusError(
            f"the {what} of a level do not fit", got=matrix.shape, expected=f"{expected} (documents, columns)"
        )


def _check_finite(kind: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise CorpusError(
            f"the {kind} features of the rankers are not finite",
            got=values[~np.isfinite(values)][0].item(),
            expected="finite numbers",
            remedy="Look for documents whose encoding failed.",
        )


def _costs(cost: sp.csr_matrix, gold: sp.csr_matrix) -> FloatArray:
    """A cost for each gold entry."""
    if not (np.array_equal(cost.indptr, gold.indptr) and np.array_equal(cost.indices, gold.indices)):
        raise CorpusError("costs of rankers stand where no gold does, or are missing where one does")
    values = cost.data.astype(np.float32)
    if len(wrong := values[~((values > 0) & np.isfinite(values))]):
        raise CorpusError(
            "a cost of the rankers", got=wrong[0].item(), expected="more than 0", remedy="Leave it out of gold."
        )
    return values


def columns(matrix: sp.csr_matrix) -> int:
    """How many columns a sparse matrix has; scipy's own type of `shape` is looser."""
    shape: tuple[int, int] = matrix.shape  # pyright: ignore[reportAssignmentType]
    return shape[1]


def _sorted(matrix: Compressed) -> Compressed:
    if matrix.has_canonical_format:
        return matrix
    matrix = matrix.copy()
    matrix.sum_duplicates()
    return matrix


def _rows(matrix: sp.csr_matrix, value: np.ndarray) -> Rows:
    return Rows(_fixed(matrix.indptr, np.int64), _fixed(matrix.indices, np.int32), _fixed(value, np.float32))


def _fixed(array: npt.ArrayLike, dtype: type) -> np.ndarray:
    """Read-only: kernels are compiled once, for arrays of this process and for those that other processes share."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view
