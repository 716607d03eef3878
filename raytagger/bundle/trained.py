"""What a bundle was trained on: documents, by hashes of their ids, and labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raytagger.bundle.tagger import Tagger
from raytagger.corpus.unique import HashArray, hash_ids
from raytagger.schema import BoolArray


def unseen_labels(tagger: Tagger) -> BoolArray:
    """Bool (L,): the labels that the bundle was not trained on, which are all that a label file marks unseen.

    A label that is marked unseen but was trained on, by a bundle of another label file, is none of them.
    """
    return tagger.train_count_L == 0


def marked_but_trained(tagger: Tagger) -> BoolArray:
    """Bool (L,): active labels that are marked `seen = false` and that the bundle was trained on all the same."""
    labels = tagger.labels
    return labels.marked_unseen_L & labels.active_L & ~unseen_labels(tagger)


def trained_hashes(*taggers: Tagger) -> HashArray:
    """The hashed ids of the documents that any of some taggers was trained on, as far as they know."""
    found = [getattr(tagger, "trained_hashes", None) for tagger in taggers]
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *(part for part in found if part is not None)]))


def are_among(hashes: HashArray, ids: Sequence[str]) -> BoolArray:
    """Bool (B,), which documents are among those of some hashes, uint64, ascending."""
    if not len(hashes) or not ids:
        return np.zeros(len(ids), bool)
    asked = hash_ids(list(ids))
    return hashes[np.minimum(np.searchsorted(hashes, asked), len(hashes) - 1)] == asked
