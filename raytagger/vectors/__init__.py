"""Array work without a model: terms and their weights, top-k and its merge."""

from raytagger.vectors.terms import TermCounts, Vocabulary
from raytagger.vectors.tfidf import bm25, idf, tfidf
from raytagger.vectors.topk import merge_top_k, top_k

__all__ = ["TermCounts", "Vocabulary", "bm25", "idf", "merge_top_k", "tfidf", "top_k"]
