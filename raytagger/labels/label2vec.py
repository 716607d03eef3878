"""Label embeddings from which labels stand beside each other in a document: word2vec over label lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from raytagger.errors import CorpusError
from raytagger.labels.embeddings import unit_rows
from raytagger.schema import FloatArray, IntArray

LONGEST_LIST = 10_000  # gensim cuts longer ones without a word


@dataclass(frozen=True)
class Label2VecSettings:
    """How label embeddings are learnt. Source: MatchXML, Table II.

    The window is no setting: it is the longest label list, so that all labels of a document are context of each
    other; that gives the window sizes of Table II on its data sets. Differs: Table II has a subsampling threshold
    of 0.1, the text (section III-B) has none; none is used here.

    Attributes:
        negative_exponent: negatives are drawn by frequency to this power; 0 draws all labels alike, below 0 prefers
            rare ones.
        epochs: passes over the lists.
        dimensions: D.
        negatives: labels drawn against each pair.
        learning_rate: at the start; it falls linearly.
        last_learning_rate: at the end.
    """

    negative_exponent: float = 0.5
    epochs: int = 20
    dimensions: int = 100
    negatives: int = 20
    learning_rate: float = 2.5e-2
    last_learning_rate: float = 1e-4


PRESETS = {
    "eurlex-4k": Label2VecSettings(0.5, 20),
    "wiki10-31k": Label2VecSettings(1.0, 20),
    "amazoncat-13k": Label2VecSettings(0.5, 20),
    "wiki-500k": Label2VecSettings(-1.0, 50),
    "amazon-670k": Label2VecSettings(0.5, 50),
    "amazon-3m": Label2VecSettings(-0.5, 20),
}
"""Table II by data set; `eurlex-4k` is also the default."""


class _Lists:
    """Label lists in one array, handed out as the lists of words that gensim reads, once an epoch."""

    def __init__(self, label_lists: Sequence[Sequence[int]], labels: int) -> None:
        # Sets in ascending order: what is learnt must not hang on how a document's labels were written down.
        sets = [np.unique(np.asarray(row, np.int64)) for row in label_lists]
        self.label: IntArray = np.concatenate(sets or [np.empty(0, np.int64)]).astype(np.int32)
        self.offset = np.cumsum([0, *map(len, sets)])
        if len(self.label) and not (self.label.min() >= 0 and self.label.max() < labels):
            raise CorpusError(
                "a label list has an index outside the label set",
                got=[int(self.label.min()), int(self.label.max())],
                expected=f"0 to {labels - 1}",
            )
        self.longest = int(np.diff(self.offset).max(initial=0))
        if self.longest > LONGEST_LIST:
            raise CorpusError(
                "a document bears too many labels for label2vec",
                got=self.longest,
                expected=f"{LONGEST_LIST:,} at most",
                remedy="Leave the document out, or embed the labels by PIFA.",
            )
        self.count_L = np.bincount(self.label, minlength=labels)
        in_company = np.repeat(np.diff(self.offset) > 1, np.diff(self.offset))
        self.in_company_L = np.bincount(self.label[in_company], minlength=labels) > 0
        self.words = [str(label) for label in range(labels)]

    def __iter__(self) -> Iterator[list[str]]:
        for start, stop in pairwise(self.offset):
            if stop - start > 1:
                yield [self.words[label] for label in self.label[start:stop]]


def label2vec(
    label_lists: Sequence[Sequence[int]], labels: int, settings: Label2VecSettings, seed: int
) -> FloatArray:
    """Skip-gram with negative sampling over the label lists of documents.

    The result depends on the lists and the seed alone: one thread, labels numbered by index, no hash.

    Args:
        label_lists: the labels of each document, in any order, repeats ignored.
        labels: L.
        settings: see `Label2VecSettings`; `PRESETS` has the paper's.
        seed: of the first vectors and the drawing of negatives.

    Returns:
        float32 (L, D), unit rows; zero rows for labels that never stand beside another one, since nothing was
        learnt of them: `fill_from_text` places them.

    Raises:
        CorpusError: a label index outside the label set, or a list over 10,000 labels.

    Source: MatchXML, section III-B. Differs: labels without company are no random rows.
    """
    lists = _Lists(label_lists, labels)
    embedding_LD = np.zeros((labels, settings.dimensions), np.float32)
    documents = int((np.diff(lists.offset) > 1).sum())
    if documents == 0:
        return embedding_LD
    from gensim.models import Word2Vec  # late: takes a second

    model = Word2Vec(
        vector_size=settings.dimensions,
        window=lists.longest,
        shrink_windows=False,
        sg=1,
        negative=settings.negatives,
        ns_exponent=settings.negative_exponent,
        sample=0,
        alpha=settings.learning_rate,
        min_alpha=settings.last_learning_rate,
        min_count=1,
        sorted_vocab=0,
        workers=1,
        seed=seed,
    )
    kept_L = np.flatnonzero(lists.count_L)
    model.build_vocab_from_freq({lists.words[label]: int(lists.count_L[label]) for label in kept_L})
    model.train(lists, total_examples=documents, epochs=settings.epochs)
    embedding_LD[kept_L] = unit_rows(np.asarray(model.wv.vectors, np.float32))
    embedding_LD[~lists.in_company_L] = 0
    return embedding_LD
