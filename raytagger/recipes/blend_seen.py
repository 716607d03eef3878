"""Seen labels of a blend: which way to join its members, and how sure the joined score is.

Every way is tried on validation documents that it was not fitted on: each member alone, the mean of their log odds,
gates over log odds alone and over all facts. The best one by nDCG@5 is taken, so that a blend is not worse than its
best member. (The curve that makes log odds of a member's scores, which changes no order, is fitted on all of them.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger import metrics
from raytagger.calibration import Curve, fit_curve, fit_gate, fit_hierarchy
from raytagger.schema import PAD, BoolArray
from raytagger.search.blend import Candidates, Gate, ranked

FOLDS = 5
OFFSETS_LEAD = 0.003  # nDCG@5 that offsets of single labels must add, since they have many ways to fit chance


class Pairs(NamedTuple):
    """Pairs of validation documents and seen labels.

    Attributes:
        candidates: of B documents.
        fact_BCF: float64 (B, C, F), `search.blend.seen_facts`.
        right_BC: bool (B, C).
        gold: bool CSR (B, L).
        fold_B: int64 (B,), below `FOLDS`.
        count_L: int64 (L,), training documents.
    """

    candidates: Candidates
    fact_BCF: np.ndarray
    right_BC: BoolArray
    gold: sp.csr_matrix
    fold_B: np.ndarray
    count_L: np.ndarray

    @property
    def filled_BC(self) -> BoolArray:
        """Bool (B, C), places that hold a label."""
        return self.candidates.label_BC != PAD

    @property
    def members(self) -> int:
        """M."""
        return len(self.candidates.score_MBC)


class Joined(NamedTuple):
    """How seen labels are joined, and what each way measured.

    Attributes:
        gate: over `seen_facts`.
        curve: from its log odds to calibrated ones.
        offset_L: float64 (L,), by label.
        way: the name of the way taken.
        ndcg: nDCG@5 of every way on documents that it was not fitted on; None without gold.
        odds_BC: float64 (B, C), calibrated log odds of documents by gates that were not fitted on them.
    """

    gate: Gate
    curve: Curve
    offset_L: np.ndarray
    way: str
    ndcg: dict[str, float | None]
    odds_BC: np.ndarray


def right_pairs(candidates: Candidates, gold: sp.csr_matrix) -> BoolArray:
    """Bool (B, C), candidates that are gold labels."""
    right_BC = np.zeros(candidates.label_BC.shape, bool)
    row_P, column_P = np.nonzero(candidates.label_BC != PAD)
    if len(row_P):
        right_BC[row_P, column_P] = np.asarray(gold[row_P, candidates.label_BC[row_P, column_P]]).ravel()
    return right_BC


def member_curves(candidates: Candidates, right_BC: BoolArray) -> tuple[Curve, ...]:
    """From each member's score to log odds, by the pairs that it named."""
    named_MBC = candidates.rank_MBC > 0
    pairs = zip(candidates.score_MBC, named_MBC, strict=True)
    return tuple(fit_curve(score_BC[named_BC], right_BC[named_BC]) for score_BC, named_BC in pairs)


def join_seen(pairs: Pairs, curves: tuple[Curve, ...]) -> Joined:
    """Chooses the way, and calibrates what it gives.

    Where too little is known to calibrate any member (`how` = `prior`), members are joined by their ranks alone.
    """
    ways = _ways(pairs, curves)
    held = {name: _cross_fitted(pairs, columns, fixed) for name, (columns, fixed) in ways.items()}
    ndcg = {name: _ndcg(pairs, odds_BC) for name, odds_BC in held.items()}
    way = max(ways, key=lambda name: ndcg[name] or 0.0)
    columns, fixed = ways[way]
    filled_BC = pairs.filled_BC
    gate = fixed or _fit(pairs, columns, np.ones(len(pairs.fold_B), bool))
    right_P, label_P = pairs.right_BC[filled_BC], pairs.candidates.label_BC[filled_BC]
    curve = fit_curve(held[way][filled_BC], right_P)
    odds_BC = curve.odds(held[way])
    offset_L, with_offsets_BC = np.zeros(len(pairs.count_L)), _with_offsets(pairs, odds_BC)
    better = _ndcg(pairs, with_offsets_BC)
    ndcg["offsets of labels"] = better
    if (better or 0.0) > (ndcg[way] or 0.0) + OFFSETS_LEAD:
        offset_L = fit_hierarchy(odds_BC[filled_BC], right_P, label_P, pairs.count_L)
        odds_BC = with_offsets_BC
    return Joined(gate, curve, offset_L, way, ndcg, odds_BC)


def _ways(pairs: Pairs, curves: tuple[Curve, ...]) -> dict[str, tuple[np.ndarray, Gate | None]]:
    """Names of ways; each fits a gate over some columns of the facts, or is a gate that needs no fit."""
    count, width = pairs.members, pairs.fact_BCF.shape[2]
    told_M = np.array([curve.how != "prior" for curve in curves])
    if not told_M.any():
        by_rank = np.zeros(width)
        by_rank[2 * count : 3 * count] = 1 / count
        return {"ranks of members": (np.arange(0), Gate(by_rank, 0.0))}

    def fixed(weight_M: np.ndarray) -> tuple[np.ndarray, Gate]:
        return np.arange(0), Gate(np.concatenate([weight_M, np.zeros(width - count)]), 0.0)

    ways: dict[str, tuple[np.ndarray, Gate | None]] = {
        f"member {member}": fixed(np.eye(count)[member]) for member in range(count)
    }
    if told_M.sum() > 1:
        ways["mean of members"] = fixed(told_M / told_M.sum())
    # The log odds of the untold keep an order and say no more.
    told, untold = np.flatnonzero(told_M), np.flatnonzero(~told_M)
    ways["gate of log odds"] = (told, None)
    ways["gate of log odds and ranks"] = (np.r_[told, 2 * count : 3 * count], None)
    ways["gate of all facts"] = (np.setdiff1d(np.arange(width), np.r_[untold, count + untold]), None)
    return ways


def _fit(pairs: Pairs, columns: np.ndarray, of_B: BoolArray) -> Gate:
    filled_BC = pairs.filled_BC & of_B[:, None]
    line = fit_gate(pairs.fact_BCF[filled_BC][:, columns], pairs.right_BC[filled_BC])
    weight_F = np.zeros(pairs.fact_BCF.shape[2])
    weight_F[columns] = line.weight_F
    return Gate(weight_F, line.offset)


def _cross_fitted(pairs: Pairs, columns: np.ndarray, fixed: Gate | None) -> np.ndarray:
    """Log odds of each document by a gate that was not fitted on it, float64 (B, C)."""
    if fixed is not None:
        return fixed.odds(pairs.fact_BCF)
    odds_BC = np.zeros(pairs.right_BC.shape)
    for fold in np.unique(pairs.fold_B):
        held_B = pairs.fold_B == fold
        odds_BC[held_B] = _fit(pairs, columns, ~held_B).odds(pairs.fact_BCF[held_B])
    return odds_BC


def _with_offsets(pairs: Pairs, odds_BC: np.ndarray) -> np.ndarray:
    """The same with offsets that were not fitted on the document."""
    result_BC, filled_BC = odds_BC.copy(), pairs.filled_BC
    label_BC = np.maximum(pairs.candidates.label_BC, 0)
    for fold in np.unique(pairs.fold_B):
        held_B = pairs.fold_B == fold
        some_BC = filled_BC & ~held_B[:, None]
        offset_L = fit_hierarchy(odds_BC[some_BC], pairs.right_BC[some_BC], label_BC[some_BC], pairs.count_L)
        result_BC[held_B] += offset_L[label_BC[held_B]]
    return result_BC


def _ndcg(pairs: Pairs, odds_BC: np.ndarray) -> float | None:
    value = metrics.mean_defined(metrics.ndcg_at(ranked(pairs.candidates, odds_BC, 5), pairs.gold, 5))
    return None if np.isnan(value) else value
