"""A logistic curve from one score to the probability that it is right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from raytagger.schema import BoolArray, FloatArray

FEWEST_POSITIVES = 5


class Platt(NamedTuple):
    """log odds = slope · score + offset."""

    slope: float
    offset: float


def fit_platt(score_P: FloatArray, right_P: BoolArray) -> Platt | None:
    """The curve of greatest likelihood; None with fewer than five pairs of either kind, or a falling curve.

    Targets are pulled a little towards the middle, so that separable scores give finite odds.

    Args:
        score_P: float (P,), finite.
        right_P: bool (P,).

    Source: Platt 1999, section 2.2.
    """
    right, wrong = int(right_P.sum()), int((~right_P).sum())
    if min(right, wrong) < FEWEST_POSITIVES:
        return None
    exact_P = score_P.astype(np.float64)
    center, width = exact_P.mean(), max(exact_P.std(), 1e-12)
    x_P2 = np.stack([(exact_P - center) / width, np.ones_like(exact_P)], axis=1)
    target_P = np.where(right_P, (right + 1) / (right + 2), 1 / (wrong + 2))

    def loss_and_gradient(beta_2: np.ndarray) -> tuple[float, np.ndarray]:
        odds_P = x_P2 @ beta_2
        loss = np.mean(np.logaddexp(0, odds_P) - target_P * odds_P)
        return float(loss), x_P2.T @ (expit(odds_P) - target_P) / len(odds_P)

    start_2 = np.array([0.0, np.log((right + 1) / (wrong + 1))])
    beta_2 = minimize(loss_and_gradient, start_2, jac=True, method="BFGS", options={"gtol": 1e-9}).x
    slope = beta_2[0] / width
    return Platt(float(slope), float(beta_2[1] - slope * center)) if slope > 0 else None
