"""The one draw of seen labels that are hidden to stand in for unseen ones.

They are rare enough to resemble unseen labels, and frequent enough to be measured. Wherever the product hides
labels (OF-DE's guard, the blend's gate, XML0's weight) it takes them from the front of one order, as many as it
needs: by the same seed and counts the fewer that one hides are among the more that another does.
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


def draw_order(count_L: np.ndarray, among_L: BoolArray, seed: int) -> np.ndarray:
    """The rarer half of some labels in the order in which they are hidden: int64, perhaps none.

    Args:
        count_L: int64 (L,), training documents.
        among_L: bool (L,), the labels whose median count divides the rarer half from the other.
        seed: of the draw.
    """
    order_L = np.random.default_rng([seed, 1]).permutation(len(count_L))
    return order_L[rarer_half(count_L, among_L)[order_L]]
