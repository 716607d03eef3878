"""Whether probabilities mean what they say; flat arrays of probabilities and of what came true."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from raytagger.metrics.ratio import DoubleArray


def expected_calibration_error(probability_P: npt.ArrayLike, outcome_P: npt.ArrayLike, n_bins: int = 15) -> float:
    """The mean gap between confidence and accuracy over bins of equal width, weighted by their sizes.

    Args:
        probability_P: (P,), in [0, 1].
        outcome_P: (P,), bool or 0 / 1.
        n_bins: bins; bin i holds i / n_bins <= p < (i + 1) / n_bins, the last one also p = 1.

    Returns:
        In [0, 1]; nan if there are no probabilities.

    Raises:
        ValueError: the shapes differ or a probability is outside [0, 1].

    Source: Guo et al. 2017, section 2, equation 3, which bins by (lower, upper]. Differs: [lower, upper), so
        that 0 has a bin.
    """
    probability_P, outcome_P = _checked(probability_P, outcome_P)
    if not probability_P.size:
        return float("nan")
    bin_P = np.minimum((probability_P * n_bins).astype(np.int64), n_bins - 1)
    gap_bins = np.bincount(bin_P, weights=probability_P - outcome_P)
    return float(np.abs(gap_bins).sum() / probability_P.size)


def brier_score(probability_P: npt.ArrayLike, outcome_P: npt.ArrayLike) -> float:
    """The mean squared difference of probability and outcome; nan if there are none.

    Args:
        probability_P: (P,), in [0, 1].
        outcome_P: (P,), bool or 0 / 1.

    Raises:
        ValueError: the shapes differ or a probability is outside [0, 1].

    Source: Brier 1950, for one class.
    """
    probability_P, outcome_P = _checked(probability_P, outcome_P)
    return float(np.mean((probability_P - outcome_P) ** 2)) if probability_P.size else float("nan")


def _checked(probability_P: npt.ArrayLike, outcome_P: npt.ArrayLike) -> tuple[DoubleArray, DoubleArray]:
    probability_P = np.asarray(probability_P, dtype=np.float64)
    outcome_P = np.asarray(outcome_P, dtype=np.float64)
    if probability_P.ndim != 1 or probability_P.shape != outcome_P.shape:
        raise ValueError(f"probabilities {probability_P.shape} and outcomes {outcome_P.shape} must be one (P,)")
    if not np.all((probability_P >= 0) & (probability_P <= 1)):
        raise ValueError("probabilities outside [0, 1]; calibrate the scores first")
    return probability_P, outcome_P
