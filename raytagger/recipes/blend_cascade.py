"""The cascade of a blend: members with an encoder are asked only about documents whose ranking should gain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raytagger import metrics
from raytagger.bundle import Tagger
from raytagger.bundle.panel import Cascade, sureness
from raytagger.errors import SettingsError
from raytagger.schema import Scores
from raytagger.settings import FitRun

PENALTY = 1.0
FEWEST_DOCUMENTS = 50


class Saving(NamedTuple):
    """The rule, and what it does on validation documents that it was not fitted on: shares and nDCG@5 lost."""

    cascade: Cascade
    share_skipped: float
    loss: float


def cheap_members(members: Sequence[Tagger]) -> list[int]:
    """Members without an encoder."""
    return [number for number, member in enumerate(members) if getattr(member, "encoder", None) is None]


def check_cascade(run: FitRun, members: Sequence[Tagger], names: Sequence[str]) -> None:
    """Refuses a cascade that has nothing to skip, or nothing to begin with.

    Raises:
        SettingsError: all members have an encoder, or none.
    """
    if run.blend.cascade and len(cheap_members(members)) in (0, len(members)):
        raise SettingsError(
            "blend.cascade needs members with an encoder and members without",
            got=", ".join(names),
            expected="for example xrlinear and frozen",
        )


def fit_cascade(cheap: Scores, full: Scores, gold: object, fold_B: np.ndarray, loss: float) -> Saving:
    """Which documents are left to the cheap members.

    The gain in nDCG@5 is regressed on how sure the cheap ranking is; documents of least expected gain are skipped,
    as many as lose at most `loss` in all, judged by expectations that were fitted on other documents.

    Args:
        cheap: the cheap members' ranking of B validation documents.
        full: the ranking by all members.
        gold: bool CSR (B, L).
        fold_B: int64 (B,).
        loss: nDCG@5 that may be lost on average over all documents.
    """
    fact_BF = sureness(cheap)
    gain_B = metrics.ndcg_at(full, gold, 5) - metrics.ndcg_at(cheap, gold, 5)  # pyright: ignore[reportArgumentType]
    gain_B = np.nan_to_num(gain_B)
    expected_B = np.zeros(len(gain_B))
    for fold in np.unique(fold_B):
        held_B = fold_B == fold
        weight_F, offset = _ridge(fact_BF[~held_B], gain_B[~held_B])
        expected_B[held_B] = fact_BF[held_B] @ weight_F + offset
    order_B = np.argsort(expected_B, kind="stable")
    lost_B = np.cumsum(gain_B[order_B]) / max(len(gain_B), 1)
    fits = np.flatnonzero(lost_B <= loss)
    skipped = int(fits[-1]) + 1 if len(fits) and len(gain_B) >= FEWEST_DOCUMENTS else 0
    weight_F, offset = _ridge(fact_BF, gain_B)
    least = float(expected_B[order_B[skipped - 1]]) if skipped else -np.inf
    lost = float(lost_B[skipped - 1]) if skipped else 0.0
    share = skipped / max(len(gain_B), 1)
    return Saving(Cascade(weight_F, offset, max(least, -1e9)), share, lost)


def _ridge(fact_BF: np.ndarray, gain_B: np.ndarray) -> tuple[np.ndarray, float]:
    """Penalised least squares."""
    if not len(gain_B):
        return np.zeros(fact_BF.shape[1]), 0.0
    mean_F, mean = fact_BF.mean(axis=0), float(gain_B.mean())
    away_BF = fact_BF - mean_F
    square_FF = away_BF.T @ away_BF + PENALTY * np.eye(fact_BF.shape[1])
    weight_F = np.linalg.solve(square_FF, away_BF.T @ (gain_B - mean))
    return weight_F, mean - float(weight_F @ mean_F)
