"""A linear gate over facts of (document, label) pairs: weighted logistic regression with a penalty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit

from raytagger.schema import BoolArray

PENALTY = 1.0  # of the squared weights of standardised facts, beside the sum of losses


class Line(NamedTuple):
    """log odds = facts · weights + offset; float64 (F,)."""

    weight_F: np.ndarray
    offset: float


def fit_gate(fact_PF: np.ndarray, right_P: BoolArray, weight_P: np.ndarray | None = None) -> Line:
    """The weights of greatest penalised likelihood.

    Facts are standardised for the fit and the weights given for the facts as they are; a fact that never changes
    has the weight 0. Targets are pulled a little towards the middle, so that separable pairs give finite odds.

    Args:
        fact_PF: float (P, F).
        right_P: bool (P,).
        weight_P: float (P,), how many pairs each stands for; None for one each.

    Source: Platt 1999, section 2.2, for the targets.
    """
    weight_P = np.ones(len(right_P)) if weight_P is None else np.asarray(weight_P, np.float64)
    total = max(float(weight_P.sum()), 1e-12)
    fact_PF = np.asarray(fact_PF, np.float64)
    mean_F = weight_P @ fact_PF / total
    width_F = np.sqrt(weight_P @ (fact_PF - mean_F) ** 2 / total)
    varies_F = width_F > 1e-9
    width_F = np.where(varies_F, width_F, 1.0)
    x_PF = np.where(varies_F, (fact_PF - mean_F) / width_F, 0.0)
    right = float(weight_P @ right_P)
    wrong = total - right
    target_P = np.where(right_P, (right + 1) / (right + 2), 1 / (wrong + 2))

    from scipy.optimize import minimize  # not on top: a tagger reads curves but fits none

    def loss_and_gradient(beta: np.ndarray) -> tuple[float, np.ndarray]:
        odds_P = x_PF @ beta[:-1] + beta[-1]
        loss = weight_P @ (np.logaddexp(0, odds_P) - target_P * odds_P) + PENALTY / 2 * beta[:-1] @ beta[:-1]
        slope_P = weight_P * (expit(odds_P) - target_P)
        gradient = np.append(x_PF.T @ slope_P + PENALTY * beta[:-1], slope_P.sum())
        return float(loss) / total, gradient / total

    start = np.append(np.zeros(fact_PF.shape[1]), np.log((right + 1) / (wrong + 1)))
    beta = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    weight_F = np.where(varies_F, beta[:-1] / width_F, 0.0)
    return Line(weight_F, float(beta[-1] - weight_F @ mean_F))
