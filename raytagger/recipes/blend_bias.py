"""The unseen bias of a blend: how far unseen labels are raised, chosen on labels that members had to forget.

What is raised stands higher than it is believed. Where that makes unseen labels' probabilities wrong by more than
is allowed, a curve over all that is shown, seen and unseen, makes the raised chances probabilities again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

from raytagger import metrics
from raytagger.bundle.panel import log_odds, raised, spread
from raytagger.calibration import Curve, fit_curve
from raytagger.schema import PAD, BoolArray, Scores
from raytagger.search.blend import Candidates, ranked
from raytagger.vectors import merge_disjoint

BIASES = (*(step / 20 for step in range(20)), 0.98)
HIDDEN_SHARE = 0.05  # of the seen labels are hidden at once, so that most of a document's labels stay seen
DEPTH = 10
FEWEST_HIDDEN = 300  # pairs of hidden labels among what is shown, by which a curve is fitted


class Both(NamedTuple):
    """Documents with both populations scored.

    Attributes:
        seen: candidates among seen labels.
        seen_odds_BC: their calibrated log odds.
        unseen: candidates among pseudo-unseen and unseen labels.
        unseen_odds_BC: their log odds.
        gold: bool CSR (B, L).
    """

    seen: Candidates
    seen_odds_BC: np.ndarray
    unseen: Candidates
    unseen_odds_BC: np.ndarray
    gold: sp.csr_matrix


class Point(NamedTuple):
    """What a bias gives on validation documents; None where undefined.

    Attributes:
        bias: tried.
        ndcg: nDCG@5 of all labels.
        recall: R@10 of all labels.
        error: calibration error of hidden labels among the first ten, of what is shown.
        seen_error: the same of seen labels.
        zsr: ZSR@10 of hidden labels.
        found_D: the same of single documents, the other ones with hidden labels too, group after group of labels;
            nan for documents without any: float64.
        document_D: which document each stands for.
        shown: the curve of `Panel.shown`.
    """

    bias: float
    ndcg: float | None
    recall: float | None
    zsr: float | None
    error: float | None
    seen_error: float | None
    found_D: np.ndarray
    document_D: np.ndarray
    shown: Curve | None = None

    @property
    def most_error(self) -> float:
        """The larger of the calibration errors; 0 where both are undefined."""
        return max(self.error or 0.0, self.seen_error or 0.0)

    @property
    def documents(self) -> int:
        """How many documents with hidden labels tell of the gain."""
        return len(np.unique(self.document_D[np.isfinite(self.found_D)]))

    def gains(self, other: Point, price: float, seed: int) -> bool:
        """Whether more hidden labels are found than by another bias: beyond chance, and more than it costs."""
        found = metrics.paired_difference(self.found_D, other.found_D, self.document_D, seed=seed)
        return found.low > 0 and found.value > price

    def as_dict(self) -> dict[str, float | None]:
        """For the manifest."""
        figures = {"nDCG@5": self.ndcg, "R@10": self.recall, "ZSR@10": self.zsr, "ECE_unseen": self.error}
        return {"bias": self.bias, **figures}

    def line(self) -> str:
        """For a person."""
        values = (("nDCG@5", self.ndcg), ("ZSR@10", self.zsr), ("ECE of unseen labels", self.error))
        return ", ".join(f"{name} {'-' if value is None else f'{100 * value:.1f}'}" for name, value in values)


class _Shown(NamedTuple):
    """Pairs among the first ten: chance, right, is the label hidden, how many each stands for, its document."""

    chance_P: np.ndarray
    right_P: np.ndarray
    hidden_P: np.ndarray
    weight_P: np.ndarray
    document_P: np.ndarray

    def curve(self, of_P: BoolArray) -> Curve:
        """From the log odds of some pairs' chances to what is true of them."""
        return fit_curve(log_odds(self.chance_P[of_P]), self.right_P[of_P], self.weight_P[of_P])

    def held_out(self) -> np.ndarray:
        """What is shown by curves that were fitted on the other half of the documents, float64 (P,)."""
        told_P, odd_P = np.zeros(len(self.chance_P)), self.document_P % 2 == 1
        for half_P in (odd_P, ~odd_P):
            told_P[half_P] = self.curve(~half_P).probability(log_odds(self.chance_P[half_P]))
        return told_P

    def errors(self, chance_P: np.ndarray) -> tuple[float, float]:
        """The calibration error of hidden and of seen labels; NaN without any."""
        hidden, seen = (
            metrics.expected_calibration_error(chance_P[of_P], self.right_P[of_P])
            for of_P in (self.hidden_P, ~self.hidden_P)
        )
        return hidden, seen


def bias_curve(
    both: Both,
    hidden: Sequence[np.ndarray],
    unseen_J: np.ndarray,
    most_error: float,
    biases: Sequence[float] = BIASES,
    others: Both | None = None,
) -> list[Point]:
    """What every bias gives on validation documents, as means over groups of labels that are hidden in turn.

    Args:
        both: validation documents.
        hidden: groups of labels that are ranked as unseen ones, and of which is known which documents have them.
        unseen_J: other labels that are unseen; they stand in the ranking as they will in use.
        most_error: of hidden labels' probabilities, beyond which a curve is fitted to all that is shown.
        biases: to be tried.
        others: documents by which more is known of how many hidden labels a bias finds, and nothing else.
    """
    labels = both.gold.shape[1]  # pyright: ignore[reportOptionalSubscript] - scipy's own type
    ranked, more = ([_hide(one, group_J, unseen_J) for group_J in hidden] if one else [] for one in (both, others))
    return [_point(ranked, more, spread(unseen_J, labels), bias, most_error) for bias in biases]


def hidden_groups(pseudo_J: np.ndarray, seen_labels: int) -> list[np.ndarray]:
    """Pseudo-unseen labels in groups to be hidden in turn, each of them few beside the seen labels."""
    return np.array_split(pseudo_J, max(1, round(len(pseudo_J) / max(1.0, HIDDEN_SHARE * seen_labels))))


def choose_bias(curve: Sequence[Point], most_error: float, loss: float, seed: int) -> float:
    """The largest bias by which hidden labels gain, at a price that is allowed; 0 where there is none.

    Its price is what nDCG@5 or R@10 loses on validation documents, whichever loses more: at most `loss`. The gain
    in ZSR@10, on all documents with hidden labels, must be beyond the 95 % bootstrap interval and more than the
    price. Calibration errors are at most `most_error`, or that of bias 0 where it is larger already.
    """
    start = curve[0]
    if start.ndcg is None or start.recall is None:
        return 0.0
    most_error = max(most_error, start.most_error)
    for point in sorted(curve, key=lambda point: -point.bias):
        price = max(start.ndcg - (point.ndcg or 0.0), start.recall - (point.recall or 0.0))
        if price <= loss and point.most_error <= most_error and point.gains(start, price, seed):
            return point.bias
    return 0.0


def merged(both: Both, hidden_J: np.ndarray, unseen_J: np.ndarray, bias: float, k: int) -> Scores:
    """The ranking by raised chances when `hidden_J` are unseen: (B, k)."""
    return _merged(*_populations(both, hidden_J, unseen_J, k), bias, k)


class _Hidden(NamedTuple):
    """Rankings of the seen and of the unseen labels when some are hidden, bool (L,); gold is bool CSR (B, L)."""

    seen: Scores
    unseen: Scores
    gold: sp.csr_matrix
    hidden_L: np.ndarray

    def found(self, scores: Scores) -> np.ndarray:
        """ZSR@10 of the hidden labels in a ranking, float64 (B,)."""
        return metrics.zsr_at(scores, self.gold, self.hidden_L, 10)


def _hide(both: Both, hidden_J: np.ndarray, unseen_J: np.ndarray) -> _Hidden:
    labels = both.gold.shape[1]  # pyright: ignore[reportOptionalSubscript] - scipy's own type
    return _Hidden(*_populations(both, hidden_J, unseen_J, DEPTH), both.gold, spread(hidden_J, labels))


def _populations(both: Both, hidden_J: np.ndarray, unseen_J: np.ndarray, k: int) -> tuple[Scores, Scores]:
    labels = both.gold.shape[1]  # pyright: ignore[reportOptionalSubscript] - scipy's own type
    hidden_L, unseen_L = spread(hidden_J, labels), spread(np.concatenate([hidden_J, unseen_J]), labels)
    seen_BC = np.where(_among(both.seen, ~hidden_L), expit(both.seen_odds_BC), -np.inf)
    found_BC = np.where(_among(both.unseen, unseen_L), expit(both.unseen_odds_BC), -np.inf)
    return _ranked(both.seen, seen_BC, k), _ranked(both.unseen, found_BC, k)


def _merged(seen: Scores, unseen: Scores, bias: float, k: int) -> Scores:
    chance_BK = np.where(unseen.label_BK == PAD, 0, unseen.score_BK)
    score_BK = np.where(unseen.label_BK == PAD, -np.inf, raised(chance_BK, bias)).astype(np.float32)
    return merge_disjoint(seen, Scores(unseen.label_BK, score_BK), k)


def _point(
    hidden: Sequence[_Hidden], others: Sequence[_Hidden], unseen_L: np.ndarray, bias: float, most_error: float
) -> Point:
    ndcg, recall, zsr, parts = [], [], [], []
    for one in hidden:
        scores = _merged(one.seen, one.unseen, bias, DEPTH)
        ndcg.append(metrics.mean_defined(metrics.ndcg_at(scores, one.gold, 5)))
        recall.append(metrics.mean_defined(metrics.recall_at(scores, one.gold, 10)))
        zsr.append(one.found(scores))
        parts.append(_shown(scores, one.gold, one.hidden_L, unseen_L))
    pairs = _Shown(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    curve, errors = None, pairs.errors(pairs.chance_P)
    if errors[0] > most_error and pairs.hidden_P.sum() >= FEWEST_HIDDEN:
        curve, errors = pairs.curve(pairs.weight_P > 0), pairs.errors(pairs.held_out())
    means = (metrics.mean_defined(values) for values in (np.array(ndcg), np.array(recall), np.concatenate(zsr)))
    ndcg_mean, recall_mean, zsr_mean, error, seen_error = map(_defined, (*means, *errors))
    more = [one.found(_merged(one.seen, one.unseen, bias, DEPTH)) for one in others]
    document_D = np.concatenate([_documents(zsr, 0), _documents(more, len(zsr[0]))])
    found_D = np.concatenate([*zsr, *more])
    return Point(bias, ndcg_mean, recall_mean, zsr_mean, error, seen_error, found_D, document_D, curve)


def _documents(groups: Sequence[np.ndarray], start: int) -> np.ndarray:
    """The same documents in every group, numbered from `start`."""
    return np.tile(np.arange(start, start + len(groups[0])), len(groups)) if groups else np.zeros(0, np.int64)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _shown(scores: Scores, gold: sp.csr_matrix, hidden_L: np.ndarray, unseen_L: np.ndarray) -> _Shown:
    """Hidden labels stand for the really unseen ones, too, of which nobody knows whether they are right."""
    label_BK = np.maximum(scores.label_BK, 0)
    found_BK = scores.label_BK != PAD
    unseen_BK, known_BK = found_BK & unseen_L[label_BK], found_BK & ~unseen_L[label_BK]
    hidden_P = hidden_L[label_BK[known_BK]]
    each = max(1.0, unseen_BK.sum() / max(int(hidden_P.sum()), 1))
    right_P = metrics.hits(scores, gold)[known_BK]
    weight_P = np.where(hidden_P, each, 1.0)
    return _Shown(scores.score_BK[known_BK], right_P, hidden_P, weight_P, np.nonzero(known_BK)[0])


def _among(candidates: Candidates, allowed_L: np.ndarray) -> np.ndarray:
    return allowed_L[np.maximum(candidates.label_BC, 0)] & (candidates.label_BC != PAD)


def _ranked(candidates: Candidates, value_BC: np.ndarray, k: int) -> Scores:
    """As `ranked`, where candidates of value -inf are none."""
    found = ranked(candidates, value_BC, k)
    return Scores(np.where(np.isneginf(found.score_BK), PAD, found.label_BK).astype(np.int32), found.score_BK)
