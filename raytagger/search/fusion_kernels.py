"""The compiled inside of label fusion: which of a document's labels point, when summed, closest to an unseen label.

Everything is in numbers that a document shares or that are few: with v_i the embedding of label i times its
probability and u the unseen label, `gram_KK` holds the v_i·v_j and `dot_UK` the v_i·u. A subset c scores

    f(c) = Σ_c dot_i / √(Σ_c Σ_c gram_ij),        a subset is an int64 whose bit i says that label i is in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

DoubleArray = npt.NDArray[np.float64]
MaskArray = npt.NDArray[np.int64]

LANES = 64  # unseen labels that are enumerated side by side
CANCELLED = 1e-8  # a sum has no direction when its squared length falls to this share of its parts' squares
MARGIN = 1e-7  # subsets that score less than this above the best one known are not looked for
SETTLED = 0.01  # a share is left as it is where its label's gain is less than this part of the bound
_UNDECIDED = 0.1  # among labels of much the same weight, the one whose share is nearer the middle is branched on
_CLOSED, _LEAF = -1, -2  # nothing to find below a node; no label left to branch on
_BLIND = 1e-6  # a squared length that is less than this part of what went into it is not exact enough

_COMPILED: Any = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
_INLINED: Any = {**_COMPILED, "forceinline": True}  # a call that passes arrays costs as much as a small node


class Found(NamedTuple):
    """What a search writes for each unseen label: float32, int64 and bool (U,)."""

    score_U: npt.NDArray[np.float32]
    chosen_U: MaskArray
    proven_U: npt.NDArray[np.bool_]


class Tree(NamedTuple):
    """The open nodes of a branch and bound, a row each; the last one in use is searched next.

    A node has fixed some labels in or out. Its relaxation gives every label a share in [0, 1]:

        low_DK    0 0 1 0     a label is out where low = high = 0, in where both are 1, free where they differ
        high_DK   1 0 1 1
        share_DK  .3 0 1 1    where the relaxation stands
        pull_DK               gram_KK @ share, the product of each v_i with the relaxed sum
        gain_K                of the node in hand: dot_i - cut·w·v_i
    """

    low_DK: DoubleArray
    high_DK: DoubleArray
    share_DK: DoubleArray
    pull_DK: DoubleArray
    gain_K: DoubleArray


@njit(**_COMPILED)
def enumerate_subsets(gram_KK: DoubleArray, dot_UK: DoubleArray, found: Found) -> int:
    """The best of all 2^K - 1 subsets, the first of equals; how many were scored.

    Subsets come in counting order. The sum of one is that of the same without its lowest label, which still stands
    in the row of its own lowest label (row K is the empty sum); the two first labels are added on the spot.
    """
    unseen, places = dot_UK.shape
    scale_S = _scales(gram_KK)
    sum_KW, dot_KW = np.zeros((places + 1, LANES)), np.zeros((places + 2, LANES))
    best_W, chosen_W = np.empty(LANES), np.empty(LANES, np.int64)
    for start in range(0, unseen, LANES):
        width = min(LANES, unseen - start)
        dot_KW[:places, :width] = dot_UK[start : start + width].T
        dot_KW[places:] = 0.0
        best_W[:], chosen_W[:] = -np.inf, 0
        second = 1 if places > 1 else places
        for subset in range(0, 1 << places, 4):
            lowest = _lowest(subset, places)
            rest = _lowest(subset & (subset - 1), places) if subset else places
            scale_0, scale_1 = scale_S[subset], scale_S[subset + 1]
            scale_2, scale_3 = scale_S[subset + 2], scale_S[subset + 3]
            shift_0, shift_1 = 0.0 if scale_0 > 0.0 else -np.inf, 0.0 if scale_1 > 0.0 else -np.inf
            shift_2, shift_3 = 0.0 if scale_2 > 0.0 else -np.inf, 0.0 if scale_3 > 0.0 else -np.inf
            for lane in range(width):
                total = sum_KW[rest, lane] + dot_KW[lowest, lane]
                sum_KW[lowest, lane] = total
                with_first = total + dot_KW[0, lane]
                one = with_first * scale_1 + shift_1
                two = (total + dot_KW[second, lane]) * scale_2 + shift_2
                both = (with_first + dot_KW[second, lane]) * scale_3 + shift_3
                score = total * scale_0 + shift_0
                chosen = subset + 1 if one > score else subset
                score = one if one > score else score
                other = subset + 3 if both > two else subset + 2
                two = both if both > two else two
                chosen = other if two > score else chosen
                score = two if two > score else score
                better = score > best_W[lane]
                best_W[lane] = score if better else best_W[lane]
                chosen_W[lane] = chosen if better else chosen_W[lane]
        found.score_U[start : start + width] = best_W[:width]
        found.chosen_U[start : start + width] = chosen_W[:width]
    found.proven_U[:] = True
    return ((1 << places) - 1) * unseen


@njit(**_COMPILED)
def _lowest(subset: int, places: int) -> int:
    """The first label of a subset, `places` if it is empty."""
    if subset == 0:
        return places
    place = 0
    while not (subset >> place) & 1:
        place += 1
    return place


@njit(**_COMPILED)
def _scales(gram_KK: DoubleArray) -> DoubleArray:
    """float64 (2^K, at least 4), one over the length of each subset's sum; 0 where it has no direction."""
    places = len(gram_KK)
    subsets = max(1 << places, 4)
    square_S, apart_S, scale_S = np.zeros(subsets), np.zeros(subsets), np.zeros(subsets)
    for subset in range(1, 1 << places):
        first = _lowest(subset, places)
        rest = subset & (subset - 1)
        square = square_S[rest] + gram_KK[first, first]
        apart_S[subset] = apart_S[rest] + gram_KK[first, first]
        for place in range(first + 1, places):
            if (rest >> place) & 1:
                square += 2.0 * gram_KK[first, place]
        square_S[subset] = square
        if square > CANCELLED * apart_S[subset]:
            scale_S[subset] = 1.0 / np.sqrt(square)
    return scale_S


@njit(**_COMPILED)
def search_branches(gram_KK: DoubleArray, dot_UK: DoubleArray, budget: int, found: Found) -> int:
    """The best subset for each unseen label by branch and bound, `budget` nodes each; how many nodes there were.

    The bound: a subset that scores more than `cut` has Σ dot_i - cut·|Σ v_i| > 0, and |Σ v_i| ≥ w·Σ v_i for every
    w of length 1, so that Σ (dot_i - cut·w·v_i) > 0. The labels that are fixed in, and those free ones that add
    something, give that sum's greatest value below a node; where it is not above 0 there is nothing to find. It
    holds for any w, whatever the signs; the closest w is the direction of the best relaxed sum.
    """
    places = len(gram_KK)
    shape = (places + 1, places)
    tree = Tree(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape), np.empty(places))
    visited = 0
    for unseen in range(len(dot_UK)):
        dot_K = dot_UK[unseen]
        best = _climb(gram_KK, dot_K, tree.share_DK[0], tree.pull_DK[0])
        chosen = _mask(tree.share_DK[0])
        for place in range(places):
            tree.low_DK[0, place], tree.high_DK[0, place] = 0.0, 1.0
        # Where no label of its own scores above 0 there is nothing to search: a sum scores less than its best part.
        top, nodes = -1 if best <= 0.0 else 0, 0
        while top >= 0 and nodes < budget:
            nodes += 1
            free = _tighten(tree, top, gram_KK, dot_K, best + MARGIN)
            if free >= 0:
                _split(tree, top, gram_KK, free)
                top += 1
                continue
            if free == _LEAF:
                total, square, apart = _weigh(gram_KK, dot_K, tree.share_DK[top], tree.pull_DK[top])
                if square > CANCELLED * apart and total > best * np.sqrt(square):
                    best, chosen = total / np.sqrt(square), _mask(tree.share_DK[top])
            top -= 1
        found.score_U[unseen], found.chosen_U[unseen], found.proven_U[unseen] = best, chosen, top < 0
        visited += max(nodes, 1)
    return visited


@njit(**_INLINED)
def _climb(gram_KK: DoubleArray, dot_K: DoubleArray, share_K: DoubleArray, pull_K: DoubleArray) -> float:
    """A good subset: from the best single label, adding or taking out the one that helps most while one does.

    Leaves it as shares, 0 or 1, and their pull; its score.
    """
    places = len(dot_K)
    best, flip = -np.inf, 0
    for place in range(places):
        score = dot_K[place] / np.sqrt(gram_KK[place, place])
        if score > best:
            best, flip = score, place
    for place in range(places):
        share_K[place], pull_K[place] = 0.0, gram_KK[flip, place]
    share_K[flip] = 1.0
    total, square, apart, reached = dot_K[flip], gram_KK[flip, flip], gram_KK[flip, flip], best * best
    while best > 0.0:
        flip, reached = -1, reached * (1.0 + 1e-9)
        for place in range(places):
            sign, weight = 1.0 - 2.0 * share_K[place], gram_KK[place, place]
            sum_dot = total + sign * dot_K[place]
            length = square + 2.0 * sign * pull_K[place] + weight
            exact = length > _BLIND * (apart + weight)
            if exact and sum_dot > 0.0 and sum_dot * sum_dot > reached * length:
                flip, reached = place, sum_dot * sum_dot / length
        if flip < 0:
            break
        share_K[flip] = 1.0 - share_K[flip]
        total, square, apart = _weigh(gram_KK, dot_K, share_K, pull_K)
        best = total / np.sqrt(square)
    return best


@njit(**_INLINED)
def _pull(gram_KK: DoubleArray, share_K: DoubleArray, pull_K: DoubleArray) -> None:
    """Sums the pull anew: steps would keep the rounding of labels that weighed far more and are out by now."""
    for place in range(len(pull_K)):
        pull_K[place] = 0.0
    for other in range(len(share_K)):
        if share_K[other] != 0.0:
            for place in range(len(pull_K)):
                pull_K[place] += share_K[other] * gram_KK[other, place]


@njit(**_INLINED)
def _weigh(
    gram_KK: DoubleArray, dot_K: DoubleArray, share_K: DoubleArray, pull_K: DoubleArray
) -> tuple[float, float, float]:
    """Of a subset, after its pull: Σ dot_i, the sum's squared length, and the squared lengths of its parts."""
    _pull(gram_KK, share_K, pull_K)
    total, square, apart = 0.0, 0.0, 0.0
    for place in range(len(dot_K)):
        total += share_K[place] * dot_K[place]
        square += share_K[place] * pull_K[place]
        apart += share_K[place] * gram_KK[place, place]
    return total, square, apart


@njit(**_INLINED)
def _mask(share_K: DoubleArray) -> Any:
    """The subset of the labels whose share is not 0."""
    chosen = np.int64(0)
    for place in range(len(share_K)):
        chosen |= np.int64(share_K[place] > 0.0) << place
    return chosen


@njit(**_INLINED)
def _tighten(  # noqa: C901  see _INLINED
    tree: Tree, node: int, gram_KK: DoubleArray, dot_K: DoubleArray, cut: float
) -> int:
    """Bounds a node before and after its relaxation is improved, and fixes what the bounds decide.

    `_CLOSED` if nothing below scores more than `cut`, `_LEAF` if no label is free, else the label to branch on: the
    one that weighs most.
    """
    low_K, high_K, gain_K = tree.low_DK[node], tree.high_DK[node], tree.gain_K
    share_K, pull_K = tree.share_DK[node], tree.pull_DK[node]
    places = len(dot_K)
    branch = _LEAF
    for improved in range(2):
        square, apart, whole, bound = 0.0, 0.0, 0.0, 0.0
        for place in range(places):
            square += share_K[place] * pull_K[place]
            apart += share_K[place] * share_K[place] * gram_KK[place, place]
            whole += gram_KK[place, place]
        if apart < _BLIND * whole:
            _pull(gram_KK, share_K, pull_K)
            square = 0.0
            for place in range(places):
                square += share_K[place] * pull_K[place]
        scale = cut / np.sqrt(square) if square > _BLIND * apart else 0.0  # w = 0 gives a bound too
        for place in range(places):
            gain_K[place] = dot_K[place] - scale * pull_K[place]
            bound += max(low_K[place] * gain_K[place], high_K[place] * gain_K[place])
        if bound <= 0.0:
            return _CLOSED
        branch, heaviest = _LEAF, -1.0
        for place in range(places):
            if low_K[place] == high_K[place]:
                continue
            gain, weight, share = gain_K[place], gram_KK[place, place], share_K[place]
            goal = share
            if abs(gain) >= bound:  # without it, or with it, there is nothing to find
                goal = 1.0 if gain > 0.0 else 0.0
                low_K[place] = high_K[place] = goal
            else:
                undecided = weight * (1.0 + _UNDECIDED * min(share, 1.0 - share))
                if undecided > heaviest:
                    branch, heaviest = place, undecided
                at_its_end = share == (1.0 if gain > 0.0 else 0.0)
                if not improved and not at_its_end and abs(gain) > SETTLED * bound:
                    aside = max(square - pull_K[place] * pull_K[place] / weight, 0.0)
                    goal = _best_share(pull_K[place] - share * weight, aside, weight, dot_K[place], cut)
            step = goal - share
            if step != 0.0:
                square += step * (2.0 * pull_K[place] + step * weight)
                share_K[place] = goal
                for other in range(places):
                    pull_K[other] += step * gram_KK[place, other]
        if branch == _LEAF:
            return _LEAF
    return branch


@njit(**_INLINED)
def _best_share(others: float, aside: float, weight: float, dot: float, cut: float) -> float:
    """The share of a label in [0, 1] that makes Σ dot·share - cut·|Σ share·v| greatest, the others as they are.

    `others` is v times the sum of the others, `aside` the squared distance of that sum from the line of v. The
    derivative, dot - cut·v·w, is 0 where the sum stands at the right angle to v.
    """
    steep = cut * cut - dot * dot / weight
    if steep <= 0.0:
        return 1.0 if dot > 0.0 else 0.0
    return min(1.0, max(0.0, (dot * np.sqrt(aside / steep) - others) / weight))


@njit(**_INLINED)
def _split(tree: Tree, node: int, gram_KK: DoubleArray, place: int) -> None:
    """Fixes a label in one way at `node`, in the other at the next row, which is the likelier one."""
    share = tree.share_DK[node, place]
    likely = 1.0 if share >= 0.5 else 0.0
    for other in range(len(gram_KK)):
        pull = tree.pull_DK[node, other]
        tree.pull_DK[node, other] = pull + (1.0 - likely - share) * gram_KK[place, other]
        tree.pull_DK[node + 1, other] = pull + (likely - share) * gram_KK[place, other]
        tree.share_DK[node + 1, other] = tree.share_DK[node, other]
        tree.low_DK[node + 1, other] = tree.low_DK[node, other]
        tree.high_DK[node + 1, other] = tree.high_DK[node, other]
    for row, goal in ((node, 1.0 - likely), (node + 1, likely)):
        tree.low_DK[row, place] = tree.high_DK[row, place] = tree.share_DK[row, place] = goal
