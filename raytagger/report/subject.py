"""What a report is about: one measured bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from raytagger import metrics
from raytagger.corpus import LabelSet
from raytagger.schema import BoolArray, FloatArray, Scores


@dataclass(frozen=True)
class Subject:
    """A bundle with what `evaluate` found.

    Attributes:
        name: what the bundle is called in the report.
        folder: its files.
        manifest: its manifest.
        labels: the label set it answered from.
        train_count_L: int64 (L,), training documents of each label.
        unseen_L: bool (L,), labels that count as unseen.
        figures: the result of `evaluate`.
        ranked: the best labels of every measured document.
        examples: some documents with their text, gold labels and tags.
    """

    name: str
    folder: Path
    manifest: dict[str, Any]
    labels: LabelSet
    train_count_L: np.ndarray
    unseen_L: BoolArray
    figures: dict[str, Any]
    ranked: metrics.Ranked
    examples: list[dict[str, Any]]

    @property
    def calibrated(self) -> bool:
        """Whether its scores claim to be probabilities."""
        return bool(self.manifest.get("calibrated", False))

    @cached_property
    def best(self) -> Scores:
        """The best ten labels of every document."""
        return metrics.merge_ranked(self.ranked)

    @cached_property
    def training(self) -> dict[str, Any] | None:
        """The log of the training, where there was one."""
        path = self.folder / "training.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def matrix(self, name: str) -> FloatArray | None:
        """A label matrix of the bundle, float32 (L, D), or None."""
        path = self.folder / f"{name}.npy"
        return np.load(path, allow_pickle=False).astype(np.float32) if path.is_file() else None

    def ndcg_B(self) -> np.ndarray:
        """nDCG@5 of the documents of the ranking metrics, float64."""
        return metrics.ndcg_at(self.best, self.ranked.gold, 5)[self.ranked.in_ranking_B]

    def zsr_B(self) -> np.ndarray:
        """ZSR@10 of the documents of the zero-shot metrics, float64; nan without unseen gold labels."""
        return metrics.zsr_at(self.best, self.ranked.gold, self.unseen_L, 10)[self.ranked.in_zero_shot_B]
