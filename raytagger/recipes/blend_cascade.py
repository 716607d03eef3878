"""The cascade of a blend: members with an encoder are asked only about documents whose ranking should gain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raytagger import metrics
from raytagger.bundle import Tagger
from raytagger.bundle.panel import Cascade, sureness
from raytagger.errors import SettingsError
from raytagger.schema import BoolArray, Scores
from raytagger.settings import FitRun

PENALTY = 1.0
NOTHING = -1e9  # no document is expected to gain less
FEWEST_DOCUMENTS = 50


class Saving(NamedTuple):
    """The rule, and what it does on validation documents that it was not fitted on: shares and nDCG@5 lost."""

    cascade: Cascade
    share_skipped: float
    loss: float


def cheap_members(members: Sequence[Tagger]) -> list[int]:
    """Members without an encoder, and without a member or base that has one."""
    return [number for number, member in enumerate(members) if not _reads_vectors(member)]


def _reads_vectors(member: Tagger) -> bool:
    inside = (*getattr(member, "members", ()), getattr(member, "base", None))
    return getattr(member, "encoder", None) is not None or any(one and _reads_vectors(one) for one in inside)


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
    as many as lose at most `loss` in all. What is reported is by folds: neither the regression nor where it is cut
    has seen the documents. If they lose more than `loss`, the cut is made for half of it, and so on; this choice
    alone is made by the documents that are reported.

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
    weight_F, offset = _ridge(fact_BF, gain_B)
    for part in (1.0, 0.5, 0.25):
        skipped_B = _held_out(expected_B, gain_B, fold_B, part * loss)
        lost = float(gain_B[skipped_B].sum()) / max(len(gain_B), 1)
        if lost <= loss and len(gain_B) >= FEWEST_DOCUMENTS:
            least = _cut(expected_B, gain_B, part * loss)
            return Saving(Cascade(weight_F, offset, least), float(skipped_B.mean()), lost)
    return Saving(Cascade(weight_F, offset, NOTHING), 0.0, 0.0)


def _held_out(expected_B: np.ndarray, gain_B: np.ndarray, fold_B: np.ndarray, loss: float) -> BoolArray:
    """Documents that are skipped by a cut that was made on the others."""
    skipped_B = np.zeros(len(gain_B), bool)
    for fold in np.unique(fold_B):
        held_B = fold_B == fold
        skipped_B[held_B] = expected_B[held_B] <= _cut(expected_B[~held_B], gain_B[~held_B], loss)
    return skipped_B


def _cut(expected_B: np.ndarray, gain_B: np.ndarray, loss: float) -> float:
    """The greatest expected gain of the documents that are skipped; far below any where none is."""
    order_B = np.argsort(expected_B, kind="stable")
    fits = np.flatnonzero(np.cumsum(gain_B[order_B]) <= loss * len(gain_B))
    return float(expected_B[order_B[fits[-1]]]) if len(fits) else NOTHING


def _ridge(fact_BF: np.ndarray, gain_B: np.ndarray) -> tuple[np.ndarray, float]:
    """Penalised least squares."""
    if not len(gain_B):
        return np.zeros(fact_BF.shape[1]), 0.0
    mean_F, mean = fact_BF.mean(axis=0), float(gain_B.mean())
    away_BF = fact_BF - mean_F
    square_FF = away_BF.T @ away_BF + PENALTY * np.eye(fact_BF.shape[1])
    weight_F = np.linalg.solve(square_FF, away_BF.T @ (gain_B - mean))
    return weight_F, mean - float(weight_F @ mean_F)
