"""Label retrieval: document features and a label side in, Scores out."""

from raytagger.search.approximate import (
    DenseSearch,
    LabelIndex,
    build_index,
    choose_kind,
    open_index,
    save_index,
)
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
    "DenseSearch",
    "LabelIndex",
    "MOST_TAGS",
    "Scorer",
    "SparseLabels",
    "SparseScorer",
    "build_index",
    "choose_kind",
    "keep_tags",
    "open_index",
    "save_index",
    "search_exact",
]
