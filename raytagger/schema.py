"""What flows between the rooms: documents, labels, scores, and their Arrow schemas.

Array names end in their axes. The legend, used everywhere:

    B documents of a batch      N documents of a corpus     L labels
    D width of an embedding     T tokens                    K labels kept a document
    V terms of a vocabulary     C clusters
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

PAD = -1  # the label index of a place that no label takes

REJECT_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("error", pa.string()),
        ("run_id", pa.string()),
    ]
)
"""Quarantine: a document that could not be tagged, where, why, and in which run."""

TAG_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text_hash", pa.string()),
        ("label_ids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("outcome", pa.string()),
        ("bundle_id", pa.string()),
        ("label_set_id", pa.string()),
        ("run_id", pa.string()),
        ("tagged_at", pa.timestamp("us", tz="UTC")),
        ("blank", pa.bool_()),
    ]
)
"""The tag table: one row a document; `outcome` is `tagged` or `stale` and partitions the table.

`blank`: nothing of the document is known, and it has no tags; null in rows that were written before there was it.
"""


@dataclass(frozen=True)
class Scores:
    """The result of every method: the best labels of each document.

    Attributes:
        label_BK: int32 (B, K), label indices, best first, ties by smaller index, `PAD` where fewer than K.
        score_BK: float32 (B, K), their scores, non-increasing along a row; `-inf` where `PAD`.
    """

    label_BK: IntArray
    score_BK: FloatArray

    def __post_init__(self) -> None:
        if self.label_BK.shape != self.score_BK.shape or self.label_BK.ndim != 2:
            raise ValueError(f"labels {self.label_BK.shape} and scores {self.score_BK.shape} must agree")

    def __len__(self) -> int:
        return len(self.label_BK)

    @property
    def empty_B(self) -> BoolArray:
        """Bool (B,), documents without any label; where all labels were searched these are blank."""
        return np.all(self.label_BK == PAD, axis=1)

    def without(self, none_B: BoolArray) -> Scores:
        """The same, but no label for some documents, bool (B,)."""
        return self.keep(~none_B[:, None]) if none_B.any() else self

    def keep(self, kept_BK: BoolArray) -> Scores:
        """The places where `kept_BK`, bool (B, K) or what broadcasts to it, is true; the others become `PAD`."""
        return Scores(
            np.where(kept_BK, self.label_BK, np.int32(PAD)), np.where(kept_BK, self.score_BK, np.float32(-np.inf))
        )

    def top(self, k: int) -> Scores:
        """The first `k` places of every row."""
        return Scores(self.label_BK[:, :k], self.score_BK[:, :k])

    @staticmethod
    def concatenate(parts: list[Scores]) -> Scores:
        """The rows of all parts, in order; every part has the same K."""
        return Scores(
            np.concatenate([part.label_BK for part in parts]),
            np.concatenate([part.score_BK for part in parts]),
        )
