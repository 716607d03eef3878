"""Array work without a model: terms and their weights, top-k and its merge."""

from raytagger.vectors.postings import Postings
from raytagger.vectors.style import Style
from raytagger.vectors.tally import CountedTerms, TermCounts
from raytagger.vectors.terms import SparseRows, Vocabulary
from raytagger.vectors.tfidf import TfIdf, bm25, idf, tfidf
from raytagger.vectors.topk import merge_disjoint, merge_top_k, top_k

__all__ = [
    "CountedTerms",
    "Postings",
    "SparseRows",
    "Style",
    "TermCounts",
    "TfIdf",
    "Vocabulary",
    "bm25",
    "idf",
    "merge_disjoint",
    "merge_top_k",
    "tfidf",
    "top_k",
]
