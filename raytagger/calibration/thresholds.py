"""Which labels of a ranking are kept as tags: one threshold, and per-label offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from raytagger.errors import BundleError, SettingsError
from raytagger.schema import PAD, BoolArray, FloatArray, Scores
from raytagger.settings import ThresholdSettings

F1_MODES = ("micro_F1", "macro_F1")
MODES = (*F1_MODES, "precision", "count", "fixed")
PER_LABEL = ("auto", "never")


@dataclass(frozen=True)
class Thresholds:
    """What is kept of a ranking.

    Attributes:
        value: a tag's least score; None for no threshold.
        offset_L: float32 (L,), added to `value` for a label, 0 for labels from L on; None for no offsets.
        least: tags of a document at least, as far as it has labels, whatever their scores.
        most: tags of a document at most; 0 for as many as asked for.
        abstain: a document whose best score is below has no tags, not even `least`; 0 for never.
    """

    value: float | None
    offset_L: FloatArray | None = None
    least: int = 0
    most: int = 0
    abstain: float = 0.0

    def keep(self, scores: Scores, k: int) -> Scores:
        """The tags of each document, at most `k`, best first and behind them `PAD`; (B, K) as the scores are."""
        kept_BK = self.candidates(scores, k)
        if self.value is not None:
            zero = np.zeros(1, np.float32)  # of labels that were added later
            offset_L = zero if self.offset_L is None else np.append(self.offset_L, zero)
            limit_BK = np.float32(self.value) + offset_L[np.clip(scores.label_BK, 0, len(offset_L) - 1)]
            kept_BK &= (scores.score_BK >= limit_BK) | (np.arange(kept_BK.shape[1]) < self.least)
        order_BK = np.argsort(~kept_BK, axis=1, kind="stable")
        filled_BK = np.take_along_axis(kept_BK, order_BK, axis=1)
        label_BK = np.where(filled_BK, np.take_along_axis(scores.label_BK, order_BK, axis=1), np.int32(PAD))
        score_BK = np.take_along_axis(scores.score_BK, order_BK, axis=1)
        return Scores(label_BK, np.where(filled_BK, score_BK, np.float32(-np.inf)))

    def candidates(self, scores: Scores, k: int) -> BoolArray:
        """The places that may be tags as far as `k`, `most` and `abstain` say; bool (B, K)."""
        place_BK = np.arange(scores.label_BK.shape[1]) < min(k, self.most or k)
        sure_B1 = scores.score_BK[:, :1] >= (self.abstain if self.abstain > 0 else -np.inf)
        return (scores.label_BK > PAD) & place_BK & sure_B1

    def as_dict(self) -> dict[str, Any]:
        """For JSON; offsets by the labels that have one."""
        offsets = None
        if self.offset_L is not None:
            label_P = np.flatnonzero(self.offset_L)
            offsets = {"labels": label_P.tolist(), "values": self.offset_L[label_P].tolist()}
        return {**vars(self), "offset_L": offsets}

    @staticmethod
    def from_dict(kept: dict[str, Any], labels: int) -> Thresholds:
        """What `as_dict` gave, for so many labels.

        Raises:
            BundleError: a label with an offset is not among them.
        """
        offset_L, offsets = None, kept["offset_L"]
        if offsets is not None:
            label_P = np.asarray(offsets["labels"], np.int64)
            if len(label_P) and not 0 <= label_P.min() <= label_P.max() < labels:
                raise BundleError("a threshold of no label of the bundle", got=label_P, expected=f"below {labels}")
            offset_L = np.zeros(labels, np.float32)
            offset_L[label_P] = offsets["values"]
        return Thresholds(**{**kept, "offset_L": offset_L})


def check_thresholds(settings: ThresholdSettings, k: int) -> None:
    """Refuses values that are no such thing, and values that contradict each other or `search.k` = `k`.

    Raises:
        SettingsError: names the setting, or both that contradict each other.
    """
    rules = [
        ("mode", settings.mode in MODES, ", ".join(MODES)),
        ("per_label", settings.per_label in PER_LABEL, " or ".join(PER_LABEL)),
        ("value", 0 <= settings.value <= 1, "a probability, 0 to 1"),
        ("abstain", 0 <= settings.abstain <= 1, "a probability, 0 to 1"),
        ("precision", 0 < settings.precision <= 1, "more than 0, at most 1"),
        ("least", settings.least >= 0, "0 or more"),
        ("most", settings.most >= 0, "0 or more"),
    ]
    for name, holds, expected in rules:
        if not holds:
            raise SettingsError(f"threshold.{name}", got=getattr(settings, name), expected=expected)
    limits = {"search.k": k, "threshold.most": settings.most or k}
    for name, other in (("most", "search.k"), ("least", "search.k"), ("least", "threshold.most")):
        if (size := getattr(settings, name)) > limits[other]:
            what = f"threshold.{name} = {size} contradicts {other} = {limits[other]}"
            raise SettingsError(what, expected=f"threshold.{name} at most {other}")
