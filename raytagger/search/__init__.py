"""Label retrieval: document features and a label side in, Scores out."""

from raytagger.search.exact import (
    ConstantScorer,
    DenseScorer,
    Scorer,
    SparseLabels,
    SparseScorer,
    search_exact,
)
from raytagger.search.keep import MOST_TAGS, keep_tags

__all__ = [
    "ConstantScorer",
    "DenseScorer",
    "MOST_TAGS",
    "Scorer",
    "SparseLabels",
    "SparseScorer",
    "keep_tags",
    "search_exact",
]
