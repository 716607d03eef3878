"""Which of the labels found are an answer at all, and how many may be tags."""

from __future__ import annotations

from raytagger.schema import BoolArray, Scores

MOST_TAGS = 100  # of a document: `evaluate` looks no deeper


def above_zero(scores: Scores, by_terms_B: BoolArray) -> Scores:
    """The labels that share something with their document.

    Where terms alone are compared, a score of 0 says that nothing is shared; of such labels the first of the label
    file would stand in the answer.

    Args:
        scores: by sums or means of products of non-negative weights.
        by_terms_B: bool (B,), documents for which this is so; the labels of others stay.
    """
    return scores.keep((scores.score_BK > 0) | ~by_terms_B[:, None])
