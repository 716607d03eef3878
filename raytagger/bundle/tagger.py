"""What a loaded bundle can do, whatever its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from raytagger.bundle.texts import Text
from raytagger.corpus import LabelSet
from raytagger.schema import PAD, BoolArray, FloatArray, Scores


class Tagger(Protocol):
    """A loaded bundle. Nothing of it changes after loading."""

    @property
    def bundle_id(self) -> str:
        """The bundle's version."""
        ...

    @property
    def manifest(self) -> dict[str, Any]:
        """The bundle's manifest."""
        ...

    @property
    def labels(self) -> LabelSet:
        """The label set it answers from; may be newer than the bundle's own."""
        ...

    @property
    def train_count_L(self) -> np.ndarray:
        """int64 (L,), training documents of each label; 0 for unseen ones."""
        ...

    @property
    def keep_k(self) -> int:
        """How many labels of a result are kept as tags."""
        ...

    @property
    def threshold(self) -> float | None:
        """The least score of a tag, where there is one."""
        ...

    def encode(self, texts: Sequence[str]) -> Any:
        """Document features, with two attributes, bool (B,).

        `cut_B`: texts longer than is read; `blank_B`: texts of which nothing is known.
        """
        ...

    def search(self, features: Any, k: int, allowed_L: BoolArray | None = None) -> Scores:
        """The k best labels by features, of the allowed ones only; (B, min(k, L)).

        No score, no label: a blank document gets none, and where terms alone are compared, no document gets a
        label that shares none with it.
        """
        ...

    def rank(self, features: Any, k: int, allowed_L: BoolArray | None = None) -> Scores:
        """As `search`, and then the labels that share no term, in their order: what blends are fitted on.

        A document that shares nothing with any label gets none here, too.
        """
        ...

    def moments(self, features: Any, label_J: np.ndarray) -> FloatArray:
        """Mean and deviation of the scores that `rank` gives some labels over documents: float32 (2, J).

        Blank documents do not count; a label that is never named, or always has the same score, has a deviation of
        1. Of many labels a smaller part of the documents is looked at, in their order.

        Args:
            features: of documents of the corpus.
            label_J: int64 (J,).
        """
        ...

    def tag(self, texts: Sequence[Text], k: int | None = None) -> Scores:
        """The k best labels of each text, (B, min(k, L)). Batch jobs and the endpoint both call this.

        Args:
            texts: each whole, or the bundle's fields by name; see `bundle.texts.read_texts`.
            k: labels a text; where it is more than there are labels, all of them. By default ten, or as many as
                may be tags.

        Raises:
            CorpusError: this is no list of texts.
            SettingsError: k is not a whole number, or less than 1.
        """
        ...

    def keep(self, scores: Scores, k: int | None = None) -> Scores:
        """The labels of a result that are kept as tags, `k` of a document at most instead of `keep_k`."""
        ...

    def forgetting(self, hidden_L: BoolArray) -> Tagger | None:
        """The same tagger as if it had never been trained on some labels, bool (L,); None where it cannot."""
        ...

    def with_labels(self, newer: LabelSet) -> Tagger:
        """The same tagger over a newer label set; only new and reworded labels are encoded."""
        ...


def named(scores: Scores, labels: LabelSet) -> list[list[tuple[str, float]]]:
    """Scores as (label id, score) pairs a document, best first."""
    return [
        [(labels.ids[label], float(score)) for label, score in zip(row, values, strict=True) if label != PAD]
        for row, values in zip(scores.label_BK, scores.score_BK, strict=True)
    ]
