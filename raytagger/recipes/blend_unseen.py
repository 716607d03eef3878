"""Unseen labels of a blend: the gate is fitted on seen labels that all members were made to forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raytagger.bundle import Tagger
from raytagger.bundle.panel import spread
from raytagger.calibration import fit_gate
from raytagger.fit.hidden_labels import FEWEST_DOCUMENTS, MOST_LABELS, draw_order
from raytagger.schema import BoolArray
from raytagger.search.blend import Candidates, Gate

SHARE = 0.2
FEWEST_POSITIVES = 20
LABEL_FOLDS = 4
GATE_LEAD = 0.02  # few hidden labels measure coarsely; a simpler way must be clearly better than a gate to be taken
# Without pseudo-unseen labels: five deviations above what is usual for a label make a chance of 2 %.
FALLBACK_SLOPE, FALLBACK_OFFSET = 1.0, -9.0


class Pseudo(NamedTuple):
    """Pairs of documents and pseudo-unseen labels.

    Attributes:
        candidates: of D documents; only pseudo-unseen ones of them are known to be right or wrong.
        fact_DCF: float64 (D, C, F), `search.blend.unseen_facts`.
        right_DC: bool (D, C).
        known_DC: bool (D, C), pairs with a pseudo-unseen label.
        weight_D: float64 (D,), how many documents of the corpus each stands for.
    """

    candidates: Candidates
    fact_DCF: np.ndarray
    right_DC: BoolArray
    known_DC: BoolArray
    weight_D: np.ndarray


class Guessed(NamedTuple):
    """How unseen labels are scored.

    Attributes:
        gate: over `unseen_facts`; its log odds are calibrated.
        way: the name of the way taken.
        hit: the mean of UR@1 and UR@5 among pseudo-unseen labels of every way, on labels it was not fitted on.
        odds_DC: float64 (D, C), log odds by gates that were not fitted on the label; None where there was no fit.
    """

    gate: Gate
    way: str
    hit: dict[str, float]
    odds_DC: np.ndarray | None


def draw_pseudo(members: Sequence[Tagger], count_L: np.ndarray, usable_L: BoolArray, seed: int) -> np.ndarray:
    """Rare seen labels that every member can forget: int64, ascending; perhaps none.

    From the rarer half of the labels with three documents or more, a fifth of the trained labels at most. A member
    that learnt from all its labels at once forgets none: of it only those that it was never trained on are taken.
    """
    often_L, everything_L = count_L >= FEWEST_DOCUMENTS, count_L > 0
    free_L = usable_L & often_L
    for member in members:
        if member.forgetting(everything_L) is None:
            free_L &= member.train_count_L == 0
    most = min(MOST_LABELS, max(FEWEST_POSITIVES, round(SHARE * int(everything_L.sum()))))
    order = draw_order(count_L, usable_L, seed)
    return np.sort(order[free_L[order]][:most])


def guess_unseen(pseudo: Pseudo | None, members: int, seed: int) -> Guessed:
    """Chooses the gate of unseen labels by how it ranks labels that it was not fitted on."""
    if pseudo is None or pseudo.right_DC[pseudo.known_DC].sum() < FEWEST_POSITIVES:
        weight_F = np.zeros(4 * members + 2)
        weight_F[:members] = FALLBACK_SLOPE / members
        return Guessed(Gate(weight_F, FALLBACK_OFFSET), "mean of members, not calibrated", {}, None)
    fold_DC = _label_folds(pseudo, seed)
    ways = _ways(members, pseudo.fact_DCF.shape[2])
    held = {name: _cross_fitted(pseudo, way, fold_DC) for name, way in ways.items()}
    hit = {name: _hit(pseudo, odds_DC) for name, odds_DC in held.items()}
    way = max(hit, key=lambda name: hit[name] + (GATE_LEAD if name.startswith("gate") else 0.0))
    return Guessed(_fit(pseudo, ways[way], pseudo.known_DC), way, hit, held[way])


def _ways(members: int, width: int) -> dict[str, np.ndarray]:
    """Each way is a matrix (F, G) that makes G facts of F, over which a gate is fitted."""
    one = np.eye(width)
    ways = {f"member {member}": one[:, [member]] for member in range(members)}
    if members > 1:
        ways["mean of members"] = one[:, :members].mean(axis=1, keepdims=True)
    ways["gate of unusual scores"] = one[:, :members]
    ways["gate of unusual scores and overlap"] = one[:, [*range(members), 4 * members]]
    ways["gate of all facts"] = one
    return ways


def _fit(pseudo: Pseudo, way: np.ndarray, of_DC: BoolArray) -> Gate:
    weight_DC = np.broadcast_to(pseudo.weight_D[:, None], of_DC.shape)
    line = fit_gate(pseudo.fact_DCF[of_DC] @ way, pseudo.right_DC[of_DC], weight_DC[of_DC])
    return Gate(way @ line.weight_F, line.offset)


def _label_folds(pseudo: Pseudo, seed: int) -> np.ndarray:
    label_DC = np.maximum(pseudo.candidates.label_BC, 0)
    fold_L = np.random.default_rng([seed, 6]).integers(LABEL_FOLDS, size=int(label_DC.max(initial=0)) + 1)
    return fold_L[label_DC]


def _cross_fitted(pseudo: Pseudo, way: np.ndarray, fold_DC: np.ndarray) -> np.ndarray:
    odds_DC = np.full(fold_DC.shape, -np.inf)
    for fold in range(LABEL_FOLDS):
        others_DC = pseudo.known_DC & (fold_DC != fold)
        fitted = others_DC if pseudo.right_DC[others_DC].any() else pseudo.known_DC
        held_DC = fold_DC == fold
        odds_DC[held_DC] = _fit(pseudo, way, fitted).odds(pseudo.fact_DCF)[held_DC]
    return odds_DC


def _hit(pseudo: Pseudo, odds_DC: np.ndarray) -> float:
    """The mean of UR@1 and UR@5 where pseudo-unseen labels stand among those that are really unseen."""
    rows = np.flatnonzero((pseudo.right_DC & pseudo.known_DC).any(axis=1))
    value_DC = np.where(pseudo.candidates.label_BC >= 0, odds_DC, -np.inf)[rows]
    order_DC = np.argsort(-value_DC, axis=1, kind="stable")[:, :5]
    right_DC = (pseudo.right_DC & pseudo.known_DC)[rows]
    hits_DC = np.take_along_axis(right_DC, order_DC, 1)
    total_D = right_DC.sum(axis=1)
    return float(np.mean((hits_DC[:, 0] + hits_DC.sum(axis=1)) / total_D) / 2)


def usable_pairs(candidates: Candidates, label_J: np.ndarray, labels: int) -> BoolArray:
    """Bool (D, C), candidates among some labels."""
    return spread(label_J, labels)[np.maximum(candidates.label_BC, 0)] & (candidates.label_BC >= 0)
