"""Whether probabilities mean what they say; flat arrays of probabilities and of what came true."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from raytagger.metrics.ratio import DoubleArray

RARE_AT_MOST = 10  # training documents of a seen label that counts as rare


class Bin(NamedTuple):
    """Pairs of like probability: their mean probability, the share of them that came true, and how many."""

    probability: float
    share: float
    pairs: int


def reliability(probability_P: npt.ArrayLike, outcome_P: npt.ArrayLike, n_bins: int = 15) -> list[Bin]:
    """What a reliability diagram draws: promised against true, over bins of equal width.

    Args:
        probability_P: (P,), in [0, 1].
        outcome_P: (P,), bool or 0 / 1.
        n_bins: bins; bin i holds i / n_bins <= p < (i + 1) / n_bins, the last one also p = 1.

    Returns:
        Bins by rising probability; those that hold nothing are left out.

    Raises:
        ValueError: the shapes differ or a probability is outside [0, 1].

    Source: DeGroot and Fienberg 1983; Niculescu-Mizil and Caruana 2005, section 4.
    """
    probability_P, outcome_P = _checked(probability_P, outcome_P)
    bin_P = np.minimum((probability_P * n_bins).astype(np.int64), n_bins - 1)
    count_bins = np.bincount(bin_P, minlength=n_bins)
    promised_bins = np.bincount(bin_P, weights=probability_P, minlength=n_bins)
    right_bins = np.bincount(bin_P, weights=outcome_P, minlength=n_bins)
    return [
        Bin(
            float(promised_bins[row] / count_bins[row]),
            float(right_bins[row] / count_bins[row]),
            int(count_bins[row]),
        )
        for row in np.flatnonzero(count_bins)
    ]


def expected_calibration_error(probability_P: npt.ArrayLike, outcome_P: npt.ArrayLike, n_bins: int = 15) -> float:
    """The mean gap between confidence and accuracy over bins of equal width, weighted by their sizes.

    Args:
        probability_P: (P,), in [0, 1].
        outcome_P: (P,), bool or 0 / 1.
        n_bins: bins, as `reliability` fills them.

    Returns:
        In [0, 1]; nan if there are no probabilities.

    Raises:
        ValueError: the shapes differ or a probability is outside [0, 1].

    Source: Guo et al. 2017, section 2, equation 3, which bins by (lower, upper]. Differs: [lower, upper), so
        that 0 has a bin.
    """
    bins = reliability(probability_P, outcome_P, n_bins)
    if not bins:
        return float("nan")
    gap = sum(one.pairs * abs(one.probability - one.share) for one in bins)
    return gap / sum(one.pairs for one in bins)


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
