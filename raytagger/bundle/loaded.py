"""What the kinds of bundles have in common once they are loaded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any, NamedTuple

import numpy as np

from raytagger.bundle.moments import moments_by_rank
from raytagger.bundle.texts import Text, read_texts
from raytagger.calibration import Thresholds
from raytagger.corpus import LabelSet
from raytagger.errors import SettingsError
from raytagger.schema import BoolArray, FloatArray, Scores
from raytagger.settings import FitRun

USUAL_K = 10  # labels a text


class Newer(NamedTuple):
    """What a newer label set brings.

    Attributes:
        labels: the bundle's own, brought up to it.
        added: how many labels are new; they stand at the end.
        changed: rows of new and reworded labels, ascending.
        train_count_L: int64 (L,), 0 for new labels.
    """

    labels: LabelSet
    added: int
    changed: list[int]
    train_count_L: np.ndarray

    @property
    def texts(self) -> list[str]:
        """Of the changed labels."""
        texts = self.labels.full_texts
        return [texts[row] for row in self.changed]

    def padded(self, label_LD: FloatArray) -> FloatArray:
        """Label vectors with zero rows for the new labels."""
        return np.concatenate([label_LD, np.zeros((self.added, label_LD.shape[1]), np.float32)])


@dataclass(frozen=True)
class Loaded(ABC):
    """A loaded bundle that keeps tags as the run that made it says; see `Tagger` for its attributes."""

    bundle_id: str
    manifest: dict[str, Any]
    labels: LabelSet
    train_count_L: np.ndarray
    run: FitRun
    # uint64, ascending: hashes of the ids of the training documents; None where the bundle does not know
    trained_hashes: np.ndarray | None = field(default=None, kw_only=True, repr=False)
    thresholds: Thresholds = field(default=Thresholds(None), kw_only=True)

    @property
    def keep_k(self) -> int:
        """Tags kept a document."""
        return self.run.search.k

    @property
    def threshold(self) -> float | None:
        """The least score of a tag, label offsets aside."""
        return self.thresholds.value

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Any:
        """See `Tagger.encode`."""

    @abstractmethod
    def _rank(self, features: Any, k: int, allowed_L: BoolArray | None) -> Scores:
        """The k best of the allowed labels; those of blank documents are not used."""

    def rank(self, features: Any, k: int, allowed_L: BoolArray | None = None) -> Scores:
        """See `Tagger.rank`."""
        return self._rank(features, self.at_most(k), allowed_L).without(features.blank_B)

    def search(self, features: Any, k: int, allowed_L: BoolArray | None = None) -> Scores:
        """See `Tagger.search`."""
        return self._answer(features, self.at_most(k), allowed_L).without(features.blank_B)

    def _answer(self, features: Any, k: int, allowed_L: BoolArray | None) -> Scores:
        """As `_rank`, for kinds that pass over labels which share nothing with the document."""
        return self._rank(features, k, allowed_L)

    def moments(self, features: Any, label_J: np.ndarray) -> FloatArray:
        """See `Tagger.moments`."""
        return moments_by_rank(self.rank, features, label_J, len(self.labels))

    def tag(self, texts: Sequence[Text], k: int | None = None) -> Scores:
        """See `Tagger.tag`."""
        asked = max(USUAL_K, self.keep_k) if k is None else check_k(k)
        return self._tag(read_texts(self.manifest, texts), self.at_most(asked))

    def _tag(self, texts: Sequence[str], k: int) -> Scores:
        return self.search(self.encode(texts), k)

    def at_most(self, k: int) -> int:
        """`k`, or the number of labels where that is less: no kind makes room for more."""
        return min(k, len(self.labels))

    def keep(self, scores: Scores, k: int | None = None) -> Scores:
        """See `Tagger.keep`."""
        return self.thresholds.keep(scores, k or self.keep_k)

    def compared(self, newer: LabelSet) -> Newer:
        """What `with_labels` of every kind begins with."""
        merged = self.labels.merged(newer)
        old, texts = self.labels.full_texts, merged.full_texts
        changed = [row for row, text in enumerate(texts) if row >= len(old) or text != old[row]]
        added = len(texts) - len(old)
        return Newer(merged, added, changed, np.concatenate([self.train_count_L, np.zeros(added, np.int64)]))


def check_k(k: Any) -> int:
    """How many labels are asked for.

    Raises:
        SettingsError: not a whole number, or less than 1.
    """
    if isinstance(k, bool) or not hasattr(k, "__index__") or index(k) < 1:
        raise SettingsError("k", got=k, expected="a whole number, 1 or more")
    return index(k)
