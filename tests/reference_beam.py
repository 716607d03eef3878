"""The slow and obvious beam search, and random trees for it: every margin is a dense product in float64."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.labels.tree import LabelTree


class Model(NamedTuple):
    tree: LabelTree
    weights: list[sp.csc_matrix]
    dense: list[np.ndarray]


def make_model(seed, widths, features, *, density=0.3, dense=0):
    """A random tree whose levels have so many places, with random weights; labels stand in random order."""
    rng = np.random.default_rng(seed)
    offsets, above = [], 1
    for width in widths:
        cuts = np.sort(rng.choice(np.arange(1, width), above - 1, replace=False)) if above > 1 else []
        offsets.append(np.array([0, *cuts, width], np.int64))
        above = width
    weights = []
    for width in widths:
        matrix = sp.random(features + 1, width, density, "csc", np.float32, rng, rng.standard_normal)
        matrix = matrix.tolil()
        matrix[features] = rng.standard_normal(width)
        weights.append(sp.csc_matrix(matrix, dtype=np.float32))
    parts = [(0.3 * rng.standard_normal((width, dense))).astype(np.float32) for width in widths]
    return Model(LabelTree(tuple(offsets), rng.permutation(above).astype(np.int32)), weights, parts)


def make_documents(seed, rows, features, *, density=0.3):
    """Rows of unit length, as TF-IDF makes them, or empty."""
    rng = np.random.default_rng(seed)
    found = sp.csr_matrix(sp.random(rows, features, density, "csr", np.float32, rng, rng.random))
    length = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    found.data /= np.repeat(length, np.diff(found.indptr)).astype(np.float32)
    return found


TRANSFORMS = {
    "noop": lambda margin: margin,
    "sigmoid": lambda margin: 1 / (1 + np.exp(-margin)),
    "log-sigmoid": lambda margin: -np.log(1 + np.exp(-margin)),
    "l1-hinge": lambda margin: np.exp(-np.maximum(0, 1 - margin)),
    "l2-hinge": lambda margin: np.exp(-(np.maximum(0, 1 - margin) ** 2)),
    "l3-hinge": lambda margin: np.exp(-(np.maximum(0, 1 - margin) ** 3)),
    "l4-hinge": lambda margin: np.exp(-(np.maximum(0, 1 - margin) ** 4)),
}
COMBINERS = {
    "product": lambda above, score: above * score,
    "sum": lambda above, score: above + score,
    "none": lambda above, score: score,
}


def scores_by_level(model, document, dense, transform, combiner):
    """The combined score of every place of every level, as if the beam had no limit."""
    features = np.append(document, 1.0).astype(np.float64)
    levels = []
    for level, matrix in enumerate(model.weights):
        margin = features @ matrix.toarray().astype(np.float64)
        if dense is not None:
            margin = margin + model.dense[level].astype(np.float64) @ dense
        score = TRANSFORMS[transform](margin)
        if level:
            score = COMBINERS[combiner](levels[-1][model.tree.parents(level)], score)
        levels.append(score)
    return levels


def search_slowly(model, document, k, transform, combiner, beam=0, dense=None, allowed_P=None):
    """The k best labels as (label, score), best first, and the smallest gap at which a node was left out.

    `allowed_P` is a list of masks, one a level. Where the gap is tiny, another answer may be as right.
    """
    levels = scores_by_level(model, document, dense, transform, combiner)
    alive = np.zeros(1, bool) | True
    gap = np.inf
    for level, score in enumerate(levels):
        candidates = np.flatnonzero(alive[model.tree.parents(level)])
        if allowed_P is not None:
            candidates = candidates[allowed_P[level][candidates]]
        candidates = candidates[np.argsort(-score[candidates], kind="stable")]
        last = level == len(levels) - 1
        kept = k if last else beam or len(candidates)
        if kept < len(candidates):
            gap = min(gap, score[candidates[kept - 1]] - score[candidates[kept]])
        candidates = candidates[:kept]
        alive = np.zeros(len(score), bool)
        alive[candidates] = True
        if last:
            found = sorted((-score[place], int(model.tree.label_P[place])) for place in candidates)
            return [(label, -score) for score, label in found], gap
    raise AssertionError("a tree has a level")
