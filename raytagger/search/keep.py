"""Which of the labels found are kept: as a document's tags, and as an answer at all."""

from __future__ import annotations

from raytagger.schema import BoolArray, Scores

MOST_TAGS = 50


def keep_tags(scores: Scores, k: int, threshold: float | None = None) -> Scores:
    """The first k labels of each row, of them those with at least `threshold`; the others become `PAD`."""
    first = scores.top(min(k, MOST_TAGS))
    return first if threshold is None else first.keep(first.score_BK >= threshold)


def above_zero(scores: Scores, by_terms_B: BoolArray) -> Scores:
    """The labels that share something with their document.

    Where terms alone are compared, a score of 0 says that nothing is shared; of such labels the first of the label
    file would stand in the answer.

    Args:
        scores: by sums or means of products of non-negative weights.
        by_terms_B: bool (B,), documents for which this is so; the labels of others stay.
    """
    return scores.keep((scores.score_BK > 0) | ~by_terms_B[:, None])
