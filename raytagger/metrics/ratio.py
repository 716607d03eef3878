"""Per-document numerators and denominators, from which a metric and its bootstrap interval both follow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

DoubleArray = npt.NDArray[np.float64]


class Ratio(NamedTuple):
    """What each document adds to the numerator and the denominator of a metric over a corpus.

    A document that adds nothing to either is left out of everything, without being named.

    Attributes:
        numerator_B: float64 (B,).
        denominator_B: float64 (B,), non-negative.
    """

    numerator_B: DoubleArray
    denominator_B: DoubleArray

    def per_document(self) -> DoubleArray:
        """Numerator over denominator, float64 (B,); nan where the denominator is 0."""
        undefined_B = np.full(len(self.denominator_B), np.nan)
        return np.divide(self.numerator_B, self.denominator_B, out=undefined_B, where=self.denominator_B > 0)

    def total(self) -> float:
        """Sum of numerators over sum of denominators; nan where the latter is 0."""
        denominator = float(self.denominator_B.sum())
        return float(self.numerator_B.sum()) / denominator if denominator > 0 else float("nan")


def mean_defined(value_B: DoubleArray) -> float:
    """The mean of the values that are not nan; nan, without a warning, if there are none."""
    return as_ratio(value_B).total()


def as_ratio(value_B: DoubleArray) -> Ratio:
    """Values as a ratio whose total is their mean: value over 1, and 0 over 0 where a value is nan."""
    defined_B = ~np.isnan(value_B)
    return Ratio(np.where(defined_B, value_B, 0.0).astype(np.float64), defined_B.astype(np.float64))
