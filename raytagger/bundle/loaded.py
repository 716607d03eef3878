"""What the kinds of bundles have in common once they are loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raytagger.corpus import LabelSet
from raytagger.schema import BoolArray, Scores
from raytagger.search import keep_tags
from raytagger.settings import FitRun


@dataclass(frozen=True)
class Loaded(ABC):
    """A loaded bundle that keeps tags as the run that made it says; see `Tagger` for its attributes."""

    bundle_id: str
    manifest: dict[str, Any]
    labels: LabelSet
    train_count_L: np.ndarray
    run: FitRun

    @property
    def keep_k(self) -> int:
        """Tags kept a document."""
        return self.run.search.k

    @property
    def threshold(self) -> float | None:
        """The least score of a tag."""
        return self.run.search.threshold

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Any:
        """See `Tagger.encode`."""

    @abstractmethod
    def search(self, features: Any, k: int, allowed_L: BoolArray | None = None) -> Scores:
        """See `Tagger.search`."""

    def tag(self, texts: Sequence[str], k: int = 10) -> Scores:
        """See `Tagger.tag`."""
        return self.search(self.encode(texts), k)

    def keep(self, scores: Scores, k: int | None = None) -> Scores:
        """See `Tagger.keep`."""
        return keep_tags(scores, k or self.keep_k, self.threshold)
