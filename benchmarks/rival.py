"""Answers that a rival gave, in the shape of a tagger, so that the same code measures both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from raytagger.bundle.texts import Text
from raytagger.bundle.tree import TreeTagger
from raytagger.corpus import LabelSet
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.vectors import top_k

DEPTH = 100


def best(score: sp.csr_matrix, trained: np.ndarray) -> Scores:
    """A rival's answers (B, trained labels) as labels of ours, best first."""
    count_B = np.diff(score.indptr)
    width = max(int(count_B.max()), 1)
    label_BJ = np.full((len(count_B), width), PAD, np.int32)
    score_BJ = np.full((len(count_B), width), -np.inf, np.float32)
    filled_BJ = np.arange(width) < count_B[:, None]
    label_BJ[filled_BJ], score_BJ[filled_BJ] = trained[score.indices], score.data
    order_BK = top_k(score_BJ, DEPTH).label_BK
    label_BK = np.take_along_axis(label_BJ, np.maximum(order_BK, 0), axis=1)
    score_BK = np.take_along_axis(score_BJ, np.maximum(order_BK, 0), axis=1)
    label_BK[order_BK == PAD], score_BK[order_BK == PAD] = PAD, -np.inf
    return Scores(label_BK, score_BK)


class Numbers(NamedTuple):
    """A rival's "features": which of the test documents they are."""

    row_B: np.ndarray
    cut_B: BoolArray
    blank_B: BoolArray  # no row


@dataclass(frozen=True)
class Rival:
    """Answers that a rival gave, in the shape of a tagger, so that the same code measures both."""

    ours: TreeTagger
    texts: list[str]
    scores: Scores
    bundle_id: str = "rival"
    keep_k: int = 5
    threshold: float | None = None

    @property
    def manifest(self) -> dict[str, Any]:
        return self.ours.manifest

    @property
    def labels(self) -> LabelSet:
        return self.ours.labels

    @property
    def train_count_L(self) -> np.ndarray:
        return self.ours.train_count_L

    def encode(self, texts: Sequence[str]) -> Numbers:
        place = {text: row for row, text in enumerate(self.texts)}
        row_B = np.array([place.get(text, -1) for text in texts])
        return Numbers(row_B, np.zeros(len(texts), bool), row_B < 0)

    def search(self, features: Numbers, k: int, allowed_L: BoolArray | None = None) -> Scores:
        """Nothing for documents of other splits, and for labels that are not allowed."""
        label_BK, score_BK = self.scores.label_BK[features.row_B, :k], self.scores.score_BK[features.row_B, :k]
        wrong_BK = (features.row_B < 0)[:, None] | (label_BK == PAD)
        if allowed_L is not None:
            wrong_BK |= ~allowed_L[label_BK]
        order_BK = np.argsort(wrong_BK, axis=1, kind="stable")
        label_BK, score_BK = np.where(wrong_BK, PAD, label_BK), np.where(wrong_BK, -np.inf, score_BK)
        label_BK, score_BK = (np.take_along_axis(array, order_BK, axis=1) for array in (label_BK, score_BK))
        return Scores(label_BK.astype(np.int32), score_BK.astype(np.float32))

    def rank(self, features: Numbers, k: int, allowed_L: BoolArray | None = None) -> Scores:
        return self.search(features, k, allowed_L)

    def moments(self, features: Numbers, label_J: np.ndarray) -> FloatArray:
        raise NotImplementedError

    def tag(self, texts: Sequence[Text], k: int | None = None) -> Scores:
        return self.search(self.encode([str(text) for text in texts]), k or DEPTH)

    def keep(self, scores: Scores, k: int | None = None) -> Scores:
        return scores.top(k or self.keep_k)

    def forgetting(self, hidden_L: BoolArray) -> None:
        return None

    def with_labels(self, newer: LabelSet) -> "Rival":
        raise NotImplementedError
