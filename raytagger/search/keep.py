"""Which of the labels found are kept as a document's tags."""

from __future__ import annotations

import numpy as np

from raytagger.schema import PAD, Scores

MOST_TAGS = 50


def keep_tags(scores: Scores, k: int, threshold: float | None = None) -> Scores:
    """The first k labels of each row, of them those with at least `threshold`; the others become `PAD`."""
    first = scores.top(min(k, MOST_TAGS))
    if threshold is None:
        return first
    below_BK = first.score_BK < threshold
    return Scores(
        np.where(below_BK, np.int32(PAD), first.label_BK),
        np.where(below_BK, np.float32(-np.inf), first.score_BK),
    )
