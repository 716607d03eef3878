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


def cheapest_batches(length_B: npt.NDArray[np.int64], budget: int, pass_tokens: int) -> list[npt.NDArray[np.int64]]:
    """As `length_batches`, cut where padding and passes together cost least.

    Args:
        length_B: int64 (B,), tokens of each text.
        budget: padded tokens of one batch.
        pass_tokens: padded tokens that take as long as what a pass takes whatever its size.
    """
    order = np.argsort(-length_B, kind="stable")
    length_B = np.maximum(length_B[order], 1)
    cost, start = np.zeros(len(order) + 1), np.zeros(len(order) + 1, np.int64)
    for stop in range(1, len(order) + 1):
        # The last batch of the first `stop` texts begins with one of these, its longest.
        first = np.arange(max(stop - max(budget // int(length_B[stop - 1]), 1), 0), stop)
        padded = (stop - first) * length_B[first]
        total = np.where((padded <= budget) | (first == stop - 1), cost[first] + padded, np.inf)
        best = int(np.argmin(total))
        cost[stop], start[stop] = total[best] + pass_tokens, first[best]
    batches, stop = [], len(order)
    while stop:
        batches.append(order[start[stop] : stop])
        stop = int(start[stop])
    return batches[::-1]


def even_parts(length_B: np.ndarray, budget: int) -> int:
    """In how many parts of as many texts, in the order of their length, each has at most `budget` padded tokens.

    A part of one text may have more.
    """
    length_B = np.sort(length_B)
    for parts in range(1, len(length_B)):
        if all(len(part) * part[-1] <= budget for part in np.array_split(length_B, parts)):
            return parts
    return max(len(length_B), 1)
