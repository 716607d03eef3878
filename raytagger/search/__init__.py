"""Label retrieval: document features and a label side in, Scores out."""

from raytagger.search.approximate import (
    DenseSearch,
    LabelIndex,
    build_index,
    open_index,
    recall_warning,
    save_index,
)
from raytagger.search.choose import FLAT_UP_TO, choose_index, choose_trees
from raytagger.search.exact import (
    ConstantScorer,
    DenseScorer,
    Scorer,
    SparseLabels,
    SparseScorer,
    has_any,
    nothing,
    search_exact,
)
from raytagger.search.keep import MOST_TAGS, above_zero

__all__ = [
    "ConstantScorer",
    "DenseScorer",
    "DenseSearch",
    "FLAT_UP_TO",
    "LabelIndex",
    "MOST_TAGS",
    "Scorer",
    "SparseLabels",
    "SparseScorer",
    "above_zero",
    "build_index",
    "choose_index",
    "choose_trees",
    "has_any",
    "nothing",
    "open_index",
    "recall_warning",
    "save_index",
    "search_exact",
]
