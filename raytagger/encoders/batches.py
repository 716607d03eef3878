"""Batches of texts alike in length, each within a budget of padded tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def length_batches(length_B: npt.NDArray[np.int64], budget: int) -> list[npt.NDArray[np.int64]]:
    """Cuts texts into batches whose padded size, rows x longest, is at most `budget`.

    Longest first, so that running out of memory shows at once. A text longer than the budget is a batch alone.
    Every index occurs once; equal lengths keep their order.

    Args:
        length_B: int64 (B,), tokens of each text.
        budget: padded tokens of one batch.
    """
    order = np.argsort(-length_B, kind="stable")
    batches, start = [], 0
    while start < len(order):
        rows = max(budget // max(int(length_B[order[start]]), 1), 1)
        batches.append(order[start : start + rows])
        start += rows
    return batches


def even_parts(length_B: np.ndarray, budget: int) -> int:
    """In how many parts of as many texts, in the order of their length, each has at most `budget` padded tokens.

    A part of one text may have more.
    """
    length_B = np.sort(length_B)
    for parts in range(1, len(length_B)):
        if all(len(part) * part[-1] <= budget for part in np.array_split(length_B, parts)):
            return parts
    return max(len(length_B), 1)
