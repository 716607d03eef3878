"""Which search answers: by the kind of features and the number of labels."""

from __future__ import annotations

from raytagger.errors import SettingsError

DENSE, TERMS = ("exact", "hnsw", "ivf"), ("flat", "tree")
EXACT_UP_TO = 100_000
FLAT_UP_TO = 2_000
TREES = 3  # above it; three rank better by more than a point of nDCG@5


def choose_index(asked: str, labels: int, features: str) -> str:
    """The search for `search.index`.

    `dense` vectors alone: every label's cosine up to 100,000 labels, then HNSW. Measured (benchmark `dense_index`):
    at 78,000 labels the cosines cost 3.4 % of what MiniLM does, and HNSW loses 1.3 % of the ten best. Trained term
    weights: one matrix of all labels (one-vs-rest) up to 2,000 labels, then a tree. Measured (benchmark `growth`):
    a tree is cheaper from about 1,270 labels on; at 2,000 the matrix costs 1.4 times as much, 11 µs a document, and
    ranks better.

    Args:
        asked: `auto`, or a kind by name.
        labels: L.
        features: `dense` or `terms`.

    Raises:
        SettingsError: an unknown kind.
    """
    kinds = DENSE if features == "dense" else TERMS
    if asked == "auto":
        return kinds[0] if labels <= (EXACT_UP_TO if features == "dense" else FLAT_UP_TO) else kinds[1]
    if asked not in kinds:
        raise SettingsError("search.index", got=asked, expected=", ".join(("auto", *kinds)))
    return asked


def choose_trees(asked: int, labels: int, index: str) -> int:
    """The trees of each feature set for `tree.trees`.

    Seeds change nothing in one matrix of all labels, and little in a tree of few; above 2,000 labels three trees of
    other seeds find what one of them cuts off, which costs three times the training and search.

    Args:
        asked: a number of trees; 0: by the number of labels.
        labels: L, those that are trained.
        index: `flat` or `tree`.
    """
    return asked or (TREES if index == "tree" and labels > FLAT_UP_TO else 1)
