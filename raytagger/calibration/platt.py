"""A logistic curve from one score to the probability that it is right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from raytagger.schema import BoolArray

FEWEST_POSITIVES = 5


class Platt(NamedTuple):
    """log odds = slope · score + offset."""

    slope: float
    offset: float


def fit_platt(
    score_P: npt.NDArray[np.floating], right_P: BoolArray, weight_P: npt.ArrayLike | None = None
) -> Platt | None:
    """The curve of greatest likelihood; None with fewer than five pairs of either kind, or where it does not rise.

    Targets are pulled a little towards the middle, so that separable scores give finite odds.

    Args:
        score_P: float (P,), finite.
        right_P: bool (P,).
        weight_P: float (P,), how many pairs each stands for; None for one each.

    Source: Platt 1999, section 2.2.
    """
    if min(right_P.sum(), (~right_P).sum()) < FEWEST_POSITIVES or score_P.min() == score_P.max():
        return None
    exact_P = score_P.astype(np.float64)
    share_P = np.ones(len(exact_P)) if weight_P is None else np.asarray(weight_P, np.float64)
    right, wrong = float(share_P @ right_P), float(share_P @ ~right_P)
    share_P = share_P / share_P.sum()
    center = float(share_P @ exact_P)
    width = max(float(np.sqrt(share_P @ (exact_P - center) ** 2)), 1e-12)
    x_P2 = np.stack([(exact_P - center) / width, np.ones_like(exact_P)], axis=1)
    target_P = np.where(right_P, (right + 1) / (right + 2), 1 / (wrong + 2))

    from scipy.optimize import minimize  # not on top: a tagger reads curves but fits none

    def loss_and_gradient(beta_2: np.ndarray) -> tuple[float, np.ndarray]:
        odds_P = x_P2 @ beta_2
        loss = share_P @ (np.logaddexp(0, odds_P) - target_P * odds_P)
        return float(loss), x_P2.T @ (share_P * (expit(odds_P) - target_P))

    start_2 = np.array([0.0, np.log((right + 1) / (wrong + 1))])
    beta_2 = minimize(loss_and_gradient, start_2, jac=True, method="BFGS", options={"gtol": 1e-9}).x
    slope = beta_2[0] / width
    return Platt(float(slope), float(beta_2[1] - slope * center)) if slope > 0 else None
