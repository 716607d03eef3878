"""A rising curve from one member's score to the log odds that it is right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from raytagger.calibration.platt import fit_platt
from raytagger.schema import BoolArray

DoubleArray = npt.NDArray[np.float64]

ISOTONIC_POSITIVES = 300  # fewer are fitted by a straight line in log odds
FEWEST_POSITIVES = 20  # fewer say nothing, and neither do fewer wrong pairs
STEP_PAIRS = 50  # smaller steps of an isotonic curve are joined
KNOT_PAIRS = 100  # between a step's end and its knot
GREATEST_ODDS = 20.0  # log odds lie between -20 and 20
BENT_FROM = 15.0  # farther out they approach these bounds without reaching them
RISE = 1e-3  # log odds that a level curve gains over the range of its scores, so that no two of them tie


class Curve(NamedTuple):
    """Log odds at knots, straight between them; beyond the ends the outer pieces go on.

    The curve rises everywhere, so that it keeps the order in which a member ranks. Beyond the ends it is what a
    logistic curve is there, and next to level for the other two, as their outer pieces are.

    Attributes:
        score_K: float64 (K,), ascending, at least two.
        odds_K: float64 (K,), ascending.
        how: `isotonic`, `platt`, or `prior` where too little was known and only the order of scores is kept.
    """

    score_K: DoubleArray
    odds_K: DoubleArray
    how: str

    def odds(self, score: npt.ArrayLike) -> DoubleArray:
        """float64, of the same shape, -20 to 20: -20 for `-inf` and for what is not a number."""
        exact = np.asarray(score, np.float64)
        slope_K = np.diff(self.odds_K) / np.diff(self.score_K)
        piece = np.clip(np.searchsorted(self.score_K, exact) - 1, 0, len(slope_K) - 1)
        with np.errstate(over="ignore"):
            value = self.odds_K[piece] + slope_K[piece] * (exact - self.score_K[piece])
        return np.where(np.isnan(exact) | np.isneginf(exact), -GREATEST_ODDS, _bent(value))

    def probability(self, score: npt.ArrayLike) -> DoubleArray:
        """float64, of the same shape."""
        return expit(self.odds(score))


def fit_curve(score_P: npt.ArrayLike, right_P: BoolArray, weight_P: npt.ArrayLike | None = None) -> Curve:
    """The curve of scores that are right or wrong.

    300 right pairs and more: isotonic regression, whose steps become knots (see `_isotonic`). From 20: a logistic
    curve. With fewer right or fewer wrong ones, or where scores fall as they become right: a line next to level at
    the base rate, `how` = `prior`, which keeps the order of scores and says nothing else.

    Args:
        score_P: float (P,), finite.
        right_P: bool (P,).
        weight_P: float (P,), more than 0, how many pairs each stands for; None for one each. The rule above counts
            pairs, not weights.

    Raises:
        ValueError: the lengths differ, a score is not finite, or a weight is not above 0.

    Source: Zadrozny and Elkan 2002 (isotonic); Platt 1999 (logistic).
    """
    score_P, right_P, weight_P = _checked(score_P, right_P, weight_P)
    right = int(right_P.sum())
    if min(right, len(right_P) - right) < FEWEST_POSITIVES:
        return _prior(score_P, right_P, weight_P)
    line = fit_platt(score_P, right_P, weight_P)
    if line is None:
        return _prior(score_P, right_P, weight_P)
    if right < ISOTONIC_POSITIVES:
        ends_2 = np.array([score_P.min(), score_P.max()])
        slope = max(line.slope, RISE / _width(*ends_2))
        return Curve(ends_2, slope * ends_2 + line.offset, "platt")
    return _isotonic(score_P, right_P, weight_P)


def _prior(score_P: DoubleArray, right_P: BoolArray, weight_P: DoubleArray) -> Curve:
    low, high = (score_P.min(), score_P.max()) if len(score_P) else (0.0, 1.0)
    middle = _smoothed(weight_P @ right_P, weight_P.sum())
    ends_2 = np.array([low, low + _width(low, high)])
    return Curve(ends_2, middle + np.array([-RISE / 2, RISE / 2]), "prior")


def _isotonic(score_P: DoubleArray, right_P: BoolArray, weight_P: DoubleArray) -> Curve:
    """Isotonic regression made continuous, finite and strictly rising.

    A step of the regression becomes two knots, 100 pairs inside its ends, or about its middle if it is
    smaller: a long step stays level and a row of short ones becomes a slope. Their log odds are those of the step's
    pairs with half a right and half a wrong pair beside them. Steps of fewer than 50 pairs are joined with their
    neighbours first.

    Source: Jiang, Osl, Kim and Ohno-Machado 2011, for joining the middles of steps. Differs: straight lines in log
    odds, and ends for long steps.
    """
    order_P = np.argsort(score_P, kind="stable")
    score_P, right_P, weight_P = score_P[order_P], right_P[order_P], weight_P[order_P]
    level_P = _levels(score_P, right_P, weight_P)
    step_P = np.cumsum(np.append(0, np.diff(level_P) > 0))
    step_P = _joined(np.bincount(step_P))[step_P]
    weight_S, right_S = np.bincount(step_P, weight_P), np.bincount(step_P, weight_P * right_P)
    # What stands beside a small step may raise it above the next one.
    odds_S = _rising(_smoothed(right_S, weight_S), weight_S)
    size_S = np.bincount(step_P)
    inside_S = np.minimum(KNOT_PAIRS, (size_S - 1) // 2)
    last_S = np.cumsum(size_S) - 1
    row_K = np.stack([last_S - size_S + 1 + inside_S, last_S - inside_S], axis=1).ravel()
    score_K, first_K = np.unique(score_P[row_K], return_index=True)
    odds_K = np.repeat(odds_S, 2)[first_K]
    # One knot as far beyond each end as the scores are wide: the curve is next to level there.
    low, width = score_P[0], _width(score_P[0], score_P[-1])
    score_K = np.concatenate([[low - width], score_K, [score_P[-1] + width]])
    odds_K = np.concatenate([odds_K[:1], odds_K, odds_K[-1:]])
    return Curve(score_K, odds_K + RISE * ((score_K - low) / width - 0.5), "isotonic")


def _levels(score_P: DoubleArray, right_P: BoolArray, weight_P: DoubleArray) -> DoubleArray:
    """Isotonic regression of ascending scores; equal scores have one level."""
    same_P = np.cumsum(np.append(0, np.diff(score_P) > 0))
    weight_S = np.bincount(same_P, weight_P)
    mean_S = np.bincount(same_P, weight_P * right_P) / np.maximum(weight_S, 1e-300)
    return _rising(mean_S, np.maximum(weight_S, 1e-300))[same_P]


def _rising(value_S: DoubleArray, weight_S: DoubleArray) -> DoubleArray:
    """Isotonic regression: the ascending values nearest to these, float64 (S,)."""
    from scipy.optimize import isotonic_regression  # not on top: a tagger reads curves but fits none

    return isotonic_regression(value_S, weights=weight_S).x


def _joined(size_K: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The new number of each step, when neighbours are joined until each has `STEP_PAIRS` pairs."""
    new_K, held = np.zeros(len(size_K), np.intp), 0
    for step in range(1, len(size_K)):
        held += size_K[step - 1]
        full = held >= STEP_PAIRS
        new_K[step] = new_K[step - 1] + full
        held = 0 if full else held
    held += size_K[-1]
    if held < STEP_PAIRS and new_K[-1]:
        new_K[new_K == new_K[-1]] -= 1
    return new_K


def _smoothed(right: npt.ArrayLike, size: npt.ArrayLike) -> DoubleArray:
    """Log odds as if half a right and half a wrong pair stood beside those counted."""
    right = np.asarray(right, np.float64)
    return np.log((right + 0.5) / (np.asarray(size) - right + 0.5))


def _width(low: float, high: float) -> float:
    """Of a range of scores; if they are all next to the same, their size."""
    width, size = float(high - low), max(abs(float(low)), abs(float(high)))
    return width if width > 1e-6 * size else size or 1.0


def _bent(odds: DoubleArray) -> DoubleArray:
    """Log odds within ±20, still rising; those within ±15 as they are."""
    room = GREATEST_ODDS - BENT_FROM
    beyond = np.maximum(np.abs(odds) - BENT_FROM, 0) / room
    return np.where(beyond > 0, np.sign(odds) * (GREATEST_ODDS - room / (1 + beyond)), odds)


def _checked(
    score_P: npt.ArrayLike, right_P: npt.ArrayLike, weight_P: npt.ArrayLike | None
) -> tuple[DoubleArray, BoolArray, DoubleArray]:
    score_P, right_P = np.asarray(score_P, np.float64), np.asarray(right_P, np.bool_)
    weight_P = np.ones(len(score_P)) if weight_P is None else np.asarray(weight_P, np.float64)
    if not score_P.shape == right_P.shape == weight_P.shape or score_P.ndim != 1:
        shapes = f"{score_P.shape}, {right_P.shape} and {weight_P.shape}"
        raise ValueError(f"scores, right and weights are {shapes}; all must be one (P,)")
    if not np.isfinite(score_P).all():
        raise ValueError("a score is not finite; leave out pairs that a member did not score")
    if not ((weight_P > 0) & np.isfinite(weight_P)).all():
        raise ValueError("a weight is not above 0; leave out pairs that do not count")
    return score_P, right_P, weight_P
