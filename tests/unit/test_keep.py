"""Which labels stay as tags."""

import numpy as np
import pytest

from raytagger.schema import PAD, Scores
from raytagger.search import MOST_TAGS, keep_tags

FOUND = Scores(
    np.array([[4, 2, 9, 1], [3, 0, PAD, PAD]], np.int32),
    np.array([[0.9, 0.5, 0.5, 0.1], [0.4, -0.2, -np.inf, -np.inf]], np.float32),
)


@pytest.mark.parametrize(
    ("k", "threshold", "labels"),
    [
        (2, None, [[4, 2], [3, 0]]),
        (9, None, [[4, 2, 9, 1], [3, 0, PAD, PAD]]),
        (4, 0.5, [[4, 2, 9, PAD], [PAD, PAD, PAD, PAD]]),
        (2, 0.5, [[4, 2], [PAD, PAD]]),
        (4, 0.0, [[4, 2, 9, 1], [3, PAD, PAD, PAD]]),
        (4, -1.0, [[4, 2, 9, 1], [3, 0, PAD, PAD]]),
        (4, 2.0, [[PAD] * 4] * 2),
    ],
)
def test_what_is_kept(k, threshold, labels):
    kept = keep_tags(FOUND, k, threshold)
    assert kept.label_BK.tolist() == labels
    assert kept.label_BK.dtype == np.int32
    assert kept.score_BK.dtype == np.float32
    assert ((kept.score_BK == -np.inf) == (kept.label_BK == PAD)).all()


def test_a_document_keeps_fifty_tags_at_most():
    found = Scores(np.arange(80, dtype=np.int32)[None], -np.arange(80, dtype=np.float32)[None])
    assert keep_tags(found, 70).label_BK.tolist() == [list(range(MOST_TAGS))]


def test_what_was_found_stays_as_it_was():
    before = FOUND.label_BK.copy()
    keep_tags(FOUND, 4, 0.5)
    assert (FOUND.label_BK == before).all()
