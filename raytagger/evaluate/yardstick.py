"""Which labels are unseen, and how rare each label is: the same for all bundles that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from raytagger.corpus import LabelSet
from raytagger.schema import BoolArray


class Known(Protocol):
    """What is read of a bundle, be it loaded or merely opened."""

    @property
    def bundle_id(self) -> str: ...  # noqa: D102

    @property
    def manifest(self) -> dict[str, Any]: ...  # noqa: D102

    @property
    def labels(self) -> LabelSet: ...  # noqa: D102

    @property
    def train_count_L(self) -> np.ndarray: ...  # noqa: D102


@dataclass(frozen=True)
class Yardstick:
    """What ZSR, UR and PSP are measured by.

    Attributes:
        bundles: ids of the bundles that are compared; the first gave the counts.
        unseen: labels that all of them have and none was trained on.
        counts: training documents of a label.
        documents: training documents.
    """

    bundles: tuple[str, ...]
    unseen: frozenset[str]
    counts: Mapping[str, int]
    documents: int

    @staticmethod
    def over(bundles: Sequence[Known]) -> Yardstick:
        """One for some bundles, of which the first is the one that matters."""
        unseen = [{one.labels.ids[row] for row in np.flatnonzero(one.train_count_L == 0)} for one in bundles]
        first = bundles[0]
        return Yardstick(
            tuple(one.bundle_id for one in bundles),
            frozenset(set.intersection(*unseen)),
            dict(zip(first.labels.ids, first.train_count_L.tolist(), strict=True)),
            int(first.manifest["train_documents"]),
        )

    def unseen_L(self, labels: LabelSet) -> BoolArray:
        """Bool (L,), which of a bundle's labels count as unseen."""
        return np.array([name in self.unseen for name in labels.ids], bool)

    def count_L(self, labels: LabelSet) -> np.ndarray:
        """Int64 (L,), training documents of a bundle's labels."""
        return np.array([self.counts.get(name, 0) for name in labels.ids], np.int64)
