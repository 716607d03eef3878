"""Beam search over a tree of labels, straight from the memory-mapped layout."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.errors import BundleError, SettingsError
from raytagger.schema import BoolArray, FloatArray, IntArray, Scores
from raytagger.search.exact import has_any, nothing
from raytagger.search.kernels import Beams, Documents, Steps, search_levels
from raytagger.search.layout import Layout, read_weights
from raytagger.search.one_thread import ONE_THREAD
from raytagger.search.transforms import Scoring, combined, scoring, transformed

BLOCK = 4096  # documents of which the beams are kept at once
BEAM_PLACES = 1 << 22  # beams kept at once: full width makes blocks small
SORTED_FROM = 256  # documents from which it pays to bring those together that share their best parent
PRODUCT_FROM = 16  # documents from which dense features go through matrix products
SHARED_FROM = 64  # documents a thread at least
EVERY_PLACE = 1 << 40

Below = tuple[int, "int | Sequence[int] | IntArray"]


class Step(NamedTuple):
    """One level of the way to a label.

    Attributes:
        level: 0 is the first below the root.
        node: its number in the level.
        bias: what it has without any feature.
        feature_T: int32, the document's features that have a weight here.
        contribution_T: float32, weight x value of each.
        dense: what the dense features add.
        margin: all of these added up.
        score: the transform of the margin.
        combined: the score with those of the levels above.
    """

    level: int
    node: int
    bias: float
    feature_T: IntArray
    contribution_T: FloatArray
    dense: float
    margin: float
    score: float
    combined: float


@dataclass
class BeamSearch:
    """A tree's searcher; threads may share it.

    Attributes:
        layout: what `open_layout` gave.
        transform: post-processor, one of `transforms.TRANSFORMS`.
        combiner: one of `transforms.COMBINERS`.
        beam: nodes kept a level; 0 for all of them, which makes the answer exact.

    Raises:
        SettingsError: an unknown transform or combiner, or a negative beam.
    """

    layout: Layout
    transform: str = "l3-hinge"
    combiner: str = "product"
    beam: int = 10

    def __post_init__(self) -> None:
        self._scoring = scoring(self.transform, self.combiner)
        self._last_limit = b"", _NO_LIMIT
        self._steps(1, self.beam)

    def search(
        self,
        doc_BV: sp.csr_matrix,
        k: int,
        doc_BE: FloatArray | None = None,
        *,
        allowed_L: BoolArray | None = None,
        below: Below | None = None,
        beam: int | None = None,
        threads: int = 0,
    ) -> Scores:
        """The k best labels of each document.

        A document without features gets what the biases say; `blank` tells which these are.

        Args:
            doc_BV: float32 CSR (B, V), in the layout's vocabulary.
            k: labels a document; `PAD` where the beam finds fewer.
            doc_BE: float32 (B, E), where the tree has dense weights.
            allowed_L: bool (L,), which labels may be answered; a branch without any is not scored.
            below: a level and one or more of its nodes: only labels below these are answered.
            beam: another one than usual; 0 for all nodes.
            threads: 0 for one a core that this process may use.

        Raises:
            BundleError: features or dense features that are not this tree's, or values that are not finite.
            SettingsError: k, the beam or a limit is impossible.
        """
        rows = len(doc_BV.indptr) - 1
        descent = _Descent(self.layout, self._scoring, self._steps(k, beam), self.limit(allowed_L, below))
        documents = _documents(doc_BV.indptr, doc_BV.indices, doc_BV.data, self._dense(doc_BE, rows))
        found = nothing(rows, k)
        if len(descent.allowed_P) and not descent.allowed_P.any():
            return found
        workers = min(threads or _cores(), rows // SHARED_FROM)
        if workers <= 1:
            descent.run(documents, found)
            return found
        parts = [slice(start, stop) for start, stop in pairwise(np.linspace(0, rows, workers + 1).astype(int))]
        with ThreadPoolExecutor(workers) as pool:  # the kernel and matrix products let go of Python's lock
            list(pool.map(lambda part: descent.run(_cut(documents, part), _view(found, part)), parts))
        return found

    def search_one(
        self,
        index_T: IntArray,
        value_T: FloatArray,
        k: int,
        doc_E: FloatArray | None = None,
        *,
        allowed_L: BoolArray | None = None,
        below: Below | None = None,
        beam: int | None = None,
    ) -> Scores:
        """The same for one document with less around it; `Scores` of one row.

        Args:
            index_T: int32, its features.
            value_T: float32, their values.
            k: labels.
            doc_E: float32 (E,), where the tree has dense weights.
            allowed_L: as in `search`, and so are the others.
            below: a limit.
            beam: another one than usual.
        """
        descent = _Descent(self.layout, self._scoring, self._steps(k, beam), self.limit(allowed_L, below))
        dense_1E = self._dense(None if doc_E is None else doc_E[None], 1)
        found = nothing(1, k)
        documents = _documents(np.array([0, len(index_T)]), index_T, value_T, dense_1E)
        descent.go(documents, descent.root(1), found, 0, self.layout.depth)
        return found

    def limit(self, allowed_L: BoolArray | None, below: Below | None = None) -> BoolArray:
        """Bool (places of all levels,), whether a label below each may be answered; (0,) where all may.

        The last one is kept, so that requests with the same limit do not pay again.

        Raises:
            SettingsError: a label, level or node that the tree does not have.
        """
        if allowed_L is None and below is None:
            return _NO_LIMIT
        digest = blake2b(b"" if allowed_L is None else np.packbits(allowed_L).tobytes(), digest_size=16)
        if below is not None:
            digest.update(np.array([below[0], *np.atleast_1d(below[1])], np.int64).tobytes())
        kept, kept_P = self._last_limit
        if digest.digest() != kept:
            # A pair is kept, and the mask returned is not read from it again: other threads may have replaced it.
            allowed_P = _locked(_allowed_places(self.layout, allowed_L, below), np.bool_)
            self._last_limit = digest.digest(), allowed_P
            return allowed_P
        return kept_P

    def blank(self, doc_BV: sp.csr_matrix) -> BoolArray:
        """Bool (B,), documents without any feature that some node has a weight for."""
        return ~has_any(doc_BV, self.layout.known_V)

    def path(self, doc_1V: sp.csr_matrix, label: int, doc_E: FloatArray | None = None) -> list[Step]:
        """Why a label got its score: the nodes from the root down, and what every feature adds at each.

        Args:
            doc_1V: float32 CSR (1, V).
            label: its index.
            doc_E: float32 (E,), where the tree has dense weights.

        Raises:
            BundleError: the tree does not have the label.
        """
        layout, leaf = self.layout, np.flatnonzero(self.layout.label_P == label)
        if not len(leaf):
            raise BundleError("the tree does not have the label", got=label)
        places = [int(layout.level_place[-2]) + int(leaf[0])]
        while parent := int(np.searchsorted(layout.node_place, places[0], "right")) - 1:
            places.insert(0, parent - 1)
        steps, total = [], self._scoring.root
        feature_T = np.asarray(doc_1V.indices, np.int32)
        for level, place in enumerate(places):
            known, weight_T = read_weights(layout, place, feature_T)
            contribution_T = weight_T * doc_1V.data[known]
            dense = 0.0 if doc_E is None else float(layout.dense_PE[place] @ doc_E)
            bias = float(layout.bias_P[place])
            margin = bias + float(contribution_T.sum()) + dense
            score = transformed(margin, self.transform)
            total = combined(total, score, self.combiner) if level else score
            node = place - int(layout.level_place[level])
            steps.append(Step(level, node, bias, feature_T[known], contribution_T, dense, margin, score, total))
        return steps

    def _steps(self, k: int, beam: int | None) -> Steps:
        width = self.beam if beam is None else beam
        if k < 1 or width < 0:
            raise SettingsError("impossible search", got=(k, width), expected="k of 1 or more, a beam of 0 or more")
        return Steps(0, self.layout.depth, width or EVERY_PLACE, k)

    def _dense(self, doc_BE: FloatArray | None, rows: int) -> FloatArray:
        expected = (rows, self.layout.dense_PE.shape[1])
        if doc_BE is None:
            if not expected[1]:
                return _NO_DENSE if rows == 1 else _locked(np.empty(expected), np.float32)
            doc_BE = np.zeros((rows, 0), np.float32)
        if doc_BE.shape != expected or not np.isfinite(doc_BE).all():
            raise BundleError(
                "dense features are not what this tree was trained with",
                got=doc_BE.shape,
                expected=f"finite numbers of shape {expected}",
            )
        return _locked(doc_BE, np.float32)


def warm(layout: Layout) -> None:
    """Compiles the kernel, or loads it from numba's cache, for a layout's own kind of arrays."""
    BeamSearch(layout).search_one(
        np.zeros(0, np.int32), np.zeros(0, np.float32), 1, np.zeros(layout.dense_PE.shape[1], np.float32)
    )


class _Descent(NamedTuple):
    """One request on its way down the tree."""

    layout: Layout
    scoring: Scoring
    steps: Steps
    allowed_P: BoolArray

    def run(self, documents: Documents, found: Scores) -> None:
        """Searches documents block by block, and writes into `found`."""
        products = len(found) >= PRODUCT_FROM and documents.dense_BE.shape[1] > 0
        block = max(1, min(BLOCK, BEAM_PLACES // self._beam_places()))
        with ONE_THREAD if products else nullcontext():
            for start in range(0, len(found), block):
                part = slice(start, min(start + block, len(found)))
                self._run_block(_cut(documents, part), _view(found, part), products)

    def _run_block(self, documents: Documents, found: Scores, products: bool) -> None:
        beams, last = self.root(len(found)), self.layout.depth - 1
        if products:
            for level in range(last):
                self.go(documents, beams, found, level, level + 1, _products(self.layout, documents, beams))
        elif last:
            self.go(documents, beams, found, 0, last)
        if len(found) >= SORTED_FROM:  # the leaves' weights are most of the memory: neighbours find them cached
            order = np.argsort(beams.node_BJ[:, 0], kind="stable")
            documents = documents._replace(order=_locked(order, np.int32))
        margin = _products(self.layout, documents, beams) if products else _NO_MARGIN
        self.go(documents, beams, found, last, last + 1, margin)

    def root(self, rows: int) -> Beams:
        """Beams that hold the root."""
        shape = rows, self._beam_places()
        node_BJ, score_BJ = _filled(shape, 0, np.uint64), _filled(shape, self.scoring.root, np.float32)
        return Beams(node_BJ, score_BJ, _filled(rows, 1, np.int64))

    def go(
        self, documents: Documents, beams: Beams, found: Scores, first: int, last: int, margin: Any = None
    ) -> None:
        """Goes down the levels `first` to `last`, not included."""
        wrong = search_levels(
            self.layout,
            documents,
            self.allowed_P,
            _NO_MARGIN if margin is None else margin,
            self.scoring,
            self.steps._replace(first=first, last=last),
            beams,
            found.label_BK,
            found.score_BK,
        )
        if wrong >= 0:
            raise BundleError(
                "a document has a feature beyond the tree's vocabulary, or a value that is not finite",
                got=f"document {wrong} of its block",
                expected=f"features below {self.layout.features}",
                remedy="Count the texts with the vocabulary that the tree was trained with.",
            )

    def _beam_places(self) -> int:
        widths = [min(self.layout.width(level), self.steps.beam) for level in range(self.layout.depth - 1)]
        return max([1, *widths])


def _products(layout: Layout, documents: Documents, beams: Beams) -> FloatArray:
    """float32 (B, J, C), what dense features add to the children of the nodes in the beams.

    One matrix product a node, of all documents that have it in their beam.
    """
    rows, places = beams.node_BJ.shape
    row, place = np.nonzero(np.arange(places) < beams.count_B[:, None])
    node = beams.node_BJ[row, place]
    order = np.argsort(node, kind="stable")
    starts = np.flatnonzero(np.diff(node[order].astype(np.int64), prepend=-1))
    first, stop = layout.node_place[node[order[starts]]], layout.node_place[node[order[starts]] + np.uint64(1)]
    margin = np.empty((rows, places, int((stop - first).max())), np.float32)
    for group, children in zip(np.split(order, starts[1:]), map(slice, first, stop), strict=True):
        product = documents.dense_BE[row[group]] @ layout.dense_PE[children].T
        margin[row[group], place[group], : product.shape[1]] = product
    return _locked(margin, np.float32)


def _allowed_places(layout: Layout, allowed_L: BoolArray | None, below: Below | None) -> BoolArray:
    """Places, bool (places of all levels,); see `BeamSearch.limit`."""
    leaf_P = np.ones(len(layout.label_P), bool)
    if allowed_L is not None:
        if len(allowed_L) <= layout.label_P.max():
            raise SettingsError(
                "allowed labels are fewer than the tree's", got=len(allowed_L), expected=f"> {layout.label_P.max()}"
            )
        leaf_P &= allowed_L[layout.label_P]
    if below is not None:
        level, nodes = below[0], np.atleast_1d(below[1])
        if not 0 <= level < layout.depth or (nodes < 0).any() or (nodes >= layout.width(level)).any():
            raise SettingsError("the tree does not have the nodes of a limit", got=below)
        leaf_P &= layout.leaves_below(level, nodes)
    return layout.places_above(leaf_P)


def _cores() -> int:
    """The cores of this process: of a worker of Ray those that it was given, which Ray says by OMP_NUM_THREADS."""
    most, told = len(os.sched_getaffinity(0)), os.environ.get("OMP_NUM_THREADS", "")
    return min(most, int(told)) if told.isdigit() and int(told) else most


def _documents(start: Any, feature: Any, value: Any, dense_BE: FloatArray) -> Documents:
    order = _FIRST if len(start) == 2 else _locked(np.arange(len(start) - 1), np.int32)
    return Documents(
        _locked(start, np.int64), _locked(feature, np.int32), _locked(value, np.float32), dense_BE, order
    )


def _cut(documents: Documents, part: slice) -> Documents:
    """Some of the documents, over the same features."""
    return documents._replace(
        start=documents.start[part.start : part.stop + 1],
        dense_BE=documents.dense_BE[part],
        order=documents.order[: part.stop - part.start],
    )


def _view(found: Scores, part: slice) -> Scores:
    return Scores(found.label_BK[part], found.score_BK[part])


def _filled(shape: Any, value: float, dtype: Any) -> Any:
    """As `np.full`, which takes three times as long for the arrays of one document."""
    array = np.empty(shape, dtype)
    array.fill(value)
    return array


def _locked(array: Any, dtype: Any) -> Any:
    """The array, read-only: the kernel is compiled for read-only arrays alone."""
    view = np.ascontiguousarray(array, dtype).view()
    view.setflags(write=False)
    return view


_NO_LIMIT = _locked(np.zeros(0), np.bool_)
_NO_DENSE = _locked(np.zeros((1, 0)), np.float32)
_FIRST = _locked(np.zeros(1), np.int32)
_NO_MARGIN = _locked(np.zeros((0, 0, 0)), np.float32)
