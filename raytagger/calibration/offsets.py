"""Corrections of log odds by group: labels are drawn towards their frequency band, bands towards no correction."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from raytagger.schema import BoolArray

DoubleArray = npt.NDArray[np.float64]

BANDS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)  # training documents at which a band begins
VARIANCES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # that offsets may have between groups
STEPS = 50


def bands(count_L: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Each label's frequency band, int64 (L,): 0 without training documents, 1 for 1-2, 2 for 3-9, 3 for 10-29."""
    return np.searchsorted(BANDS, count_L, side="right").astype(np.int64)


def fit_hierarchy(
    odds_P: DoubleArray, right_P: BoolArray, label_P: npt.NDArray[np.integer], count_L: npt.NDArray[np.integer]
) -> DoubleArray:
    """What to add to the log odds of each label: its band's offset and its own; float64 (L,).

    Bands are fitted first, then labels beside them. A label without pairs has its band's offset.

    Args:
        odds_P: float64 (P,), calibrated over all labels together.
        right_P: bool (P,).
        label_P: int (P,).
        count_L: int (L,), training documents.

    Raises:
        ValueError: as `fit_offsets`.
    """
    band_L = bands(count_L)
    _check(odds_P, right_P, label_P, len(band_L))
    offset_L = fit_offsets(odds_P, right_P, band_L[label_P], len(BANDS) + 1)[band_L]
    return offset_L + fit_offsets(odds_P + offset_L[label_P], right_P, label_P, len(band_L))


def fit_offsets(
    odds_P: DoubleArray, right_P: BoolArray, group_P: npt.NDArray[np.integer], groups: int
) -> DoubleArray:
    """What to add to the log odds of each group: float64 (groups,), 0 for a group without pairs.

    The most probable offsets under a normal distribution around 0, so that groups with few pairs keep near to 0.
    Its variance is the one of greatest marginal likelihood among `VARIANCES`, by Laplace's approximation; it is 0,
    and thus no group has an offset, where groups do not differ more than chance makes them.

    Args:
        odds_P: float64 (P,), finite.
        right_P: bool (P,).
        group_P: int (P,), below `groups`.
        groups: how many there are.

    Raises:
        ValueError: the lengths differ, a group is out of range, or log odds are not finite.

    Source: Bishop 2006, sections 3.5 and 4.4 (evidence and Laplace's approximation).
    """
    _check(odds_P, right_P, group_P, groups)
    best_G, most = np.zeros(groups), _likelihood(odds_P, right_P)
    offset_G = best_G
    for variance in VARIANCES[1:]:
        offset_G, curvature_G = _most_probable(odds_P, right_P, group_P, (offset_G, variance))
        penalty = offset_G @ offset_G / variance + np.log1p(variance * curvature_G).sum()
        evidence = _likelihood(odds_P + offset_G[group_P], right_P) - float(penalty) / 2
        if evidence > most:
            best_G, most = offset_G, evidence
    return best_G


def _most_probable(
    odds_P: DoubleArray, right_P: BoolArray, group_P: npt.NDArray[np.integer], start: tuple[DoubleArray, float]
) -> tuple[DoubleArray, DoubleArray]:
    """The most probable offsets for a variance, from those of another on, and the likelihood's curvature there.

    Newton's steps are cut at 1: over so short a way the curvature changes by no more than a factor of e, so that
    every step leaves less than three quarters of the slope.
    """
    offset_G, variance = start
    groups, curvature_G = len(offset_G), np.zeros(len(offset_G))
    for _ in range(STEPS):
        chance_P = expit(odds_P + offset_G[group_P])
        slope_G = np.bincount(group_P, right_P - chance_P, groups) - offset_G / variance
        curvature_G = np.bincount(group_P, chance_P * (1 - chance_P), groups).astype(np.float64)
        step_G = np.clip(slope_G / (curvature_G + 1 / variance), -1, 1)
        offset_G = offset_G + step_G
        if np.abs(step_G).max(initial=0) < 1e-8:
            break
    return offset_G, curvature_G


def _likelihood(odds_P: DoubleArray, right_P: BoolArray) -> float:
    return float(np.sum(np.where(right_P, odds_P, 0.0) - np.logaddexp(0, odds_P)))


def _check(odds_P: DoubleArray, right_P: BoolArray, group_P: npt.NDArray[np.integer], groups: int) -> None:
    if not np.shape(odds_P) == np.shape(right_P) == np.shape(group_P) or np.ndim(odds_P) != 1:
        shapes = ", ".join(f"{np.shape(column)}" for column in (odds_P, right_P, group_P))
        raise ValueError(f"log odds, right and groups are {shapes}; all must be one (P,)")
    if not np.isfinite(odds_P).all():
        raise ValueError("log odds are not finite")
    if len(group_P) and not 0 <= group_P.min() <= group_P.max() < groups:
        raise ValueError(f"groups {group_P.min()} to {group_P.max()}; expected 0 to {groups - 1}")
