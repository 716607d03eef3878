"""The zero-shot guard: what each evaluation measures beside nDCG@5, and what is done about a loss.

Validation documents give nDCG@5; documents with hidden labels (seen labels that training does not see) give ZSR@10
and UR@1. A tagger that only gains on the first is on the way to the collapse that OF-DE describes (section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from raytagger import metrics
from raytagger.errors import SettingsError
from raytagger.schema import BoolArray, FloatArray
from raytagger.search import DenseScorer, search_exact

GUARDS = ("off", "stop", "average")
MIXTURES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 11))
GUARD_PATIENCE = 2  # evaluations without a better balance before `stop` stops
SPREAD_SAMPLE = 2000  # labels


class Measured(NamedTuple):
    """Figures of one state of a tagger in training, as fractions; None where there is nothing to measure."""

    ndcg: float | None
    zsr: float | None
    ur: float | None

    @property
    def balance(self) -> float:
        """Mean of nDCG@5 and ZSR@10, of those there are: what the guard keeps high."""
        found = [value for value in (self.ndcg, self.zsr) if value is not None]
        return float(np.mean(found)) if found else 0.0

    def as_dict(self) -> dict[str, float | None]:
        """With the names of the metrics."""
        return {"nDCG@5": self.ndcg, "ZSR@10": self.zsr, "UR@1": self.ur}


def check_guard(name: str) -> None:
    """Refuses an unknown `train.guard`."""
    if name not in GUARDS:
        raise SettingsError("train.guard", got=name, expected=", ".join(GUARDS))


def measure(
    doc_VD: FloatArray,
    gold_V: sp.csr_matrix,
    held_HD: FloatArray,
    gold_H: sp.csr_matrix,
    label_LD: FloatArray,
    hidden_L: BoolArray,
    allowed_L: BoolArray,
) -> Measured:
    """nDCG@5 on validation documents; ZSR@10 and UR@1 on documents with hidden labels.

    Args:
        doc_VD: float32 (V, D), unit rows.
        gold_V: bool CSR (V, L).
        held_HD: float32 (H, D), unit rows.
        gold_H: bool CSR (H, L).
        label_LD: float32 (L, D), unit rows.
        hidden_L: bool (L,).
        allowed_L: bool (L,), labels that may be answered.
    """
    ndcg = zsr = ur = None
    if len(doc_VD):
        found = search_exact([DenseScorer(doc_VD, label_LD)], len(doc_VD), allowed_L, 5)
        ndcg = _defined(metrics.ndcg_at(found, gold_V, 5))
    if len(held_HD):
        scorer = [DenseScorer(held_HD, label_LD)]
        full = search_exact(scorer, len(held_HD), allowed_L, 10)
        alone = search_exact(scorer, len(held_HD), hidden_L, 1)
        zsr = _defined(metrics.zsr_at(full, gold_H, hidden_L, 10))
        ur = _defined(metrics.ur_at(alone, gold_H, hidden_L, 1))
    return Measured(ndcg, zsr, ur)


def _defined(value_B: np.ndarray) -> float | None:
    value = metrics.mean_defined(value_B)
    return None if np.isnan(value) else value


def spread(label_LD: FloatArray) -> dict[str, float] | None:
    """How far labels lie apart: mean cosine of all pairs, and effective rank; None for fewer than two labels.

    The effective rank is the exponential of the entropy of the squared singular values' shares: 1 where all labels
    are one point, D where they fill the space. Of many labels a fixed sample is taken.

    Source: Roy and Vetterli 2007 (effective rank).
    """
    if len(label_LD) < 2:
        return None
    if len(label_LD) > SPREAD_SAMPLE:
        label_LD = label_LD[np.random.default_rng(0).choice(len(label_LD), SPREAD_SAMPLE, replace=False)]
    count = len(label_LD)
    total = float(np.square(label_LD.sum(0, dtype=np.float64)).sum())
    share = np.square(np.linalg.svd(label_LD.astype(np.float64), compute_uv=False))
    share = share[share > 0] / share.sum()
    return {
        "mean_cosine": (total - float(np.square(label_LD, dtype=np.float64).sum())) / (count * (count - 1)),
        "effective_rank": float(np.exp(-(share * np.log(share)).sum())),
    }


Weights = Mapping[str, torch.Tensor]


def mix(start: Weights, end: Weights, mixture: float) -> dict[str, torch.Tensor]:
    """Weights on the straight line from `start` (0) to `end` (1)."""
    return {name: torch.lerp(start[name].float(), end[name].float(), mixture) for name in end}


def choose_mixture(measure_at: Callable[[float], Measured]) -> tuple[float, list[dict[str, Any]]]:
    """The mixture of start and end with the best balance, and what each had; ties go to the longer trained one.

    Source: Wortsman et al. 2022 (weights interpolated between a zero-shot model and its fine-tuned copy).
    """
    points = {mixture: measure_at(mixture) for mixture in MIXTURES}
    best = max(MIXTURES, key=lambda mixture: (round(points[mixture].balance, 6), mixture))
    return best, [{"mixture": mixture, **found.as_dict()} for mixture, found in points.items()]
