"""Whether the probabilities of the tags shown come true, for seen, rare and unseen labels apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from raytagger import metrics
from raytagger.bundle import Tagger
from raytagger.errors import BundleError
from raytagger.schema import PAD, BoolArray, FloatArray, Scores

SHOWN = 10  # labels of a document that a user looks at
GROUPS = ("seen", "rare", "unseen", "unseen_zero_shot")
FIGURES = ("ECE", "Brier", "n_pairs")


@dataclass
class Shown:
    """The first ten (document, label) pairs of each document's full ranking, flat, chunk by chunk.

    `seen`, `rare` (a part of the seen) and `unseen` are pairs of the documents of the ranking metrics. Nothing
    selects those documents but that they have a gold label, so a calibrated tagger's figures are near 0 there.
    `unseen_zero_shot` are pairs of the documents of the zero-shot splits. Where such a split exists, its
    documents were chosen because they have an unseen label, and a tagger that is right about the corpus promises
    too little there.

    Attributes:
        calibrated: whether the scores claim to be probabilities; nothing is gathered where they do not.
        unseen_L: bool (L,).
        rare_L: bool (L,), seen labels with few training documents.
        probability: float32 (P,) a chunk, of each group.
        right: bool (P,) a chunk, of each group.
    """

    calibrated: bool
    unseen_L: BoolArray
    rare_L: BoolArray
    probability: dict[str, list[FloatArray]] = field(default_factory=lambda: {name: [] for name in GROUPS})
    right: dict[str, list[BoolArray]] = field(default_factory=lambda: {name: [] for name in GROUPS})

    @staticmethod
    def by(tagger: Tagger, unseen_L: BoolArray) -> Shown:
        """Nothing yet of a tagger."""
        rare_L = ~unseen_L & (tagger.train_count_L <= metrics.RARE_AT_MOST)
        return Shown(bool(tagger.manifest.get("calibrated", False)), unseen_L, rare_L)

    def add(self, scores: Scores, gold: sp.csr_matrix, in_ranking_B: BoolArray, in_zero_shot_B: BoolArray) -> None:
        """Adds a chunk's pairs.

        Args:
            scores: (B, K), the full ranking.
            gold: bool CSR (B, L).
            in_ranking_B: bool (B,), documents of the ranking metrics.
            in_zero_shot_B: bool (B,), documents of the zero-shot splits.

        Raises:
            BundleError: a score of a bundle that claims to be calibrated is no probability.
        """
        if not self.calibrated:
            return
        _check(scores)
        shown = scores.top(SHOWN)
        right_BK = metrics.hits(shown, gold)
        found_BK = shown.label_BK != PAD
        ranking_BK, zero_BK = found_BK & in_ranking_B[:, None], found_BK & in_zero_shot_B[:, None]
        for name, member_L, among_BK in (
            ("seen", ~self.unseen_L, ranking_BK),
            ("rare", self.rare_L, ranking_BK),
            ("unseen", self.unseen_L, ranking_BK),
            ("unseen_zero_shot", self.unseen_L, zero_BK),
        ):
            # A pad's index, -1, reads the last label; `among_BK` leaves it out again.
            chosen_BK = among_BK & member_L[shown.label_BK]
            self.probability[name].append(shown.score_BK[chosen_BK])
            self.right[name].append(right_BK[chosen_BK])

    def figures(self) -> dict[str, Any]:
        """`ECE_…`, `Brier_…`, `n_pairs_…` of every group, and `reliability`: its bins as lists.

        None where no pair is in a group, everywhere where the bundle is not calibrated.
        """
        found: dict[str, Any] = {f"{figure}_{name}": None for name in GROUPS for figure in FIGURES}
        if not self.calibrated:
            return found | {"reliability": None}
        bins: dict[str, list[list[float]]] = {}
        for name in GROUPS:
            probability_P = np.concatenate([np.zeros(0, np.float32), *self.probability[name]])
            right_P = np.concatenate([np.zeros(0, bool), *self.right[name]])
            found[f"n_pairs_{name}"] = len(right_P)
            if len(right_P):
                found[f"ECE_{name}"] = metrics.expected_calibration_error(probability_P, right_P)
                found[f"Brier_{name}"] = metrics.brier_score(probability_P, right_P)
            bins[name] = [list(one) for one in metrics.reliability(probability_P, right_P)]
        return found | {"reliability": bins}


def _check(scores: Scores) -> None:
    score_P = scores.score_BK[scores.label_BK != PAD]
    wrong_P = score_P[~((score_P >= 0) & (score_P <= 1))]  # nan too
    if len(wrong_P):
        raise BundleError(
            "the bundle says that it is calibrated, but a score of it is no probability",
            got=float(wrong_P[0]),
            expected="a number from 0 to 1",
            remedy="Calibrate it again, or set `calibrated` to false in its manifest.",
        )
