"""Documents and labels: formats, checks, versions, splits, and the corpora that come with raytagger."""

from raytagger.corpus.documents import (
    DocumentChunk,
    check_splits,
    check_training_splits,
    find_splits,
    list_documents,
    read_documents,
    read_file,
    select_splits,
)
from raytagger.corpus.labels import LabelSet, read_labels, read_source_labels

__all__ = [
    "DocumentChunk",
    "LabelSet",
    "check_splits",
    "check_training_splits",
    "find_splits",
    "list_documents",
    "read_documents",
    "read_file",
    "read_labels",
    "read_source_labels",
    "select_splits",
]
