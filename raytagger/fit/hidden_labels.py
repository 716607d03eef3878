"""Seen labels that are rare enough to stand in for unseen ones, and frequent enough to be measured.

Wherever the product hides labels (OF-DE's guard, the blend's gate, XML0's weight), they come from this half.
"""

from __future__ import annotations

import numpy as np

from raytagger.schema import BoolArray

FEWEST_DOCUMENTS, MOST_LABELS = 3, 300


def rarer_half(count_L: np.ndarray, among_L: BoolArray) -> BoolArray:
    """Those of some labels with three documents or more, and no more than half of these have: bool (L,).

    Labels with fewer documents measure nothing, and do not say what is rare: where most have one or two, the median
    of all would leave none.

    Args:
        count_L: int64 (L,), training documents.
        among_L: bool (L,).
    """
    often_L = among_L & (count_L >= FEWEST_DOCUMENTS)
    return often_L & (count_L <= (np.median(count_L[often_L]) if often_L.any() else 0))


def draw_rare(
    count_L: np.ndarray, among_L: BoolArray, free_L: BoolArray, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Free labels from the rarer half of some labels: int64, ascending, `most` at most; perhaps none.

    Args:
        count_L: int64 (L,), training documents.
        among_L: bool (L,), the labels whose median count divides the rarer half from the other.
        free_L: bool (L,), those that may be drawn.
        most: labels.
        rng: of the draw.
    """
    rare_L = free_L & rarer_half(count_L, among_L)
    return np.sort(rng.permutation(np.flatnonzero(rare_L))[:most])
