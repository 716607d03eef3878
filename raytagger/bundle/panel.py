"""The members that are asked together, and how what they say becomes probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logit

from raytagger.calibration import Curve
from raytagger.schema import PAD, BoolArray, Scores
from raytagger.search.blend import Candidates, Gate

PIVOT = 0.3  # unseen labels of at least this chance stand where they are believed, unless the bias is great
LEAST = 1e-12  # the log odds of chances stay finite


class Cascade(NamedTuple):
    """When the cheap members' ranking is good enough.

    Attributes:
        weight_F: float64 (F,), by the facts of `sureness`.
        offset: added.
        least_gain: documents with a smaller expected gain of nDCG@5 are left to the cheap members.
        depth: places of the cheap ranking that are looked at.
    """

    weight_F: np.ndarray
    offset: float
    least_gain: float
    depth: int = 10

    def gain(self, scores: Scores) -> np.ndarray:
        """float64 (B,), what asking the other members is expected to add to nDCG@5."""
        return sureness(scores) @ self.weight_F + self.offset


def sureness(scores: Scores) -> np.ndarray:
    """How a ranking's probabilities stand: float64 (B, 14).

    The first ten probabilities, their sum, the sum of p (1 - p) over them, the best one's square, and 1 - the best.
    """
    chance_BK = np.where(scores.label_BK == PAD, 0, scores.score_BK).astype(np.float64)[:, :10]
    chance_BK = np.pad(chance_BK, ((0, 0), (0, 10 - chance_BK.shape[1])))
    doubt_BK = chance_BK * (1 - chance_BK)
    best_B = chance_BK[:, 0]
    return np.column_stack([chance_BK, chance_BK.sum(axis=1), doubt_BK.sum(axis=1), best_B**2, 1 - best_B])


class Panel(NamedTuple):
    """M members and their gates.

    Attributes:
        members: their numbers in the blend.
        curves: from each member's score to log odds, for seen labels.
        seen: the gate of seen labels.
        curve: from its log odds to calibrated ones.
        offset_L: float64 (L,), added to a label's calibrated log odds.
        unseen: the gate of unseen labels, whose log odds are calibrated.
        shown: from the log odds of ranked chances to those of what is shown; None to show them as they are.
        cascade: when these members suffice; None where they are all there are.
    """

    members: tuple[int, ...]
    curves: tuple[Curve, ...]
    seen: Gate
    curve: Curve
    offset_L: np.ndarray
    unseen: Gate
    shown: Curve | None = None
    cascade: Cascade | None = None

    def member_odds(self, candidates: Candidates) -> np.ndarray:
        """float64 (M, B, C), each member's score of seen labels as log odds.

        A member that knows nothing of a document adds nothing of its own: what the others say on average.
        """
        pairs = zip(self.curves, candidates.score_MBC, strict=True)
        odds_MBC = np.stack([curve.odds(score_BC) for curve, score_BC in pairs])
        knows_MB1 = ~candidates.blank_MB[:, :, None]
        others_BC = (odds_MBC * knows_MB1).sum(axis=0) / np.maximum(knows_MB1.sum(axis=0), 1)
        return np.where(knows_MB1, odds_MBC, others_BC)

    def odds(self, candidates: Candidates, fact_BCF: np.ndarray, seen: bool) -> np.ndarray:
        """Calibrated log odds, float64 (B, C)."""
        if not seen:
            return self.unseen.odds(fact_BCF)
        label_BC = np.maximum(candidates.label_BC, 0)
        # Labels added after training are unseen, so that each seen one has an offset.
        return self.curve.odds(self.seen.odds(fact_BCF)) + self.offset_L[label_BC]

    def probability(self, candidates: Candidates, fact_BCF: np.ndarray, seen: bool) -> np.ndarray:
        """float64 (B, C)."""
        return expit(self.odds(candidates, fact_BCF, seen))

    def told(self, chance_BC: np.ndarray) -> np.ndarray:
        """What is shown of ranked chances, of the same shape and in the same order."""
        if self.shown is None:
            return chance_BC
        return self.shown.probability(log_odds(chance_BC))

    def show(self, scores: Scores) -> Scores:
        """A ranking by chances with what is shown of them."""
        found_BK = scores.label_BK != PAD
        told_BK = self.told(np.where(found_BK, scores.score_BK, 0)).astype(np.float32)
        return Scores(scores.label_BK, np.where(found_BK, told_BK, np.float32(-np.inf)))

    def by_member(self, part_F: np.ndarray, seen: bool) -> np.ndarray:
        """What each member adds, float64 (M,), of the parts that facts add."""
        count = len(self.members)
        times = 3 if seen else 4
        return part_F[: times * count].reshape(times, count).sum(axis=0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        nonzero = np.flatnonzero(self.offset_L)
        return {
            "members": list(self.members),
            "curves": [_curve(curve) for curve in self.curves],
            "seen": _gate(self.seen),
            "curve": _curve(self.curve),
            "offsets": {int(label): float(self.offset_L[label]) for label in nonzero},
            "unseen": _gate(self.unseen),
            "shown": None if self.shown is None else _curve(self.shown),
            "cascade": None
            if self.cascade is None
            else _gate(self.cascade) | {"least_gain": self.cascade.least_gain},
        }


def from_dict(kept: dict[str, Any], labels: int) -> Panel:
    """A panel over L labels from what `as_dict` gave."""
    offset_L = np.zeros(labels)
    for label, value in kept["offsets"].items():
        offset_L[int(label)] = value
    cascade, shown = kept["cascade"], kept["shown"]
    return Panel(
        tuple(kept["members"]),
        tuple(_to_curve(curve) for curve in kept["curves"]),
        _to_gate(kept["seen"]),
        _to_curve(kept["curve"]),
        offset_L,
        _to_gate(kept["unseen"]),
        None if shown is None else _to_curve(shown),
        None if cascade is None else Cascade(*_to_gate(cascade), cascade["least_gain"]),
    )


def raised(chance_BC: np.ndarray, bias: float) -> np.ndarray:
    """Unseen labels' chances on the scale of the ranking: pivot (chance / pivot)^(1 - bias) below the pivot.

    Small chances are raised most in proportion, and none above the pivot, so that likely labels are hardly pushed
    down. A bias of 0 leaves chances as they are believed; beyond 0.86 the pivot rises, too, so that one near 1 puts
    every unseen label first. Their own order stays.
    """
    pivot = max(PIVOT, bias**8)
    return np.where(chance_BC < pivot, pivot * (chance_BC / pivot) ** (1 - bias), chance_BC)


def log_odds(chance: np.ndarray) -> np.ndarray:
    """float64, of the same shape; finite for 0 and 1, too."""
    return logit(np.clip(np.asarray(chance, np.float64), LEAST, 1 - LEAST))


def spread(label_J: Sequence[int] | np.ndarray, labels: int) -> BoolArray:
    """Bool (L,), True for the labels named."""
    only_L = np.zeros(labels, bool)
    only_L[np.asarray(label_J, np.int64)] = True
    return only_L


def _gate(gate: Gate | Cascade) -> dict[str, Any]:
    return {"weights": gate.weight_F.tolist(), "offset": float(gate.offset)}


def _to_gate(kept: dict[str, Any]) -> Gate:
    return Gate(np.array(kept["weights"], np.float64), kept["offset"])


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in curve._asdict().items()
    }


def _to_curve(kept: dict[str, Any]) -> Curve:
    return Curve(np.array(kept["score_K"]), np.array(kept["odds_K"]), kept["how"])
