"""All methods hide labels from one draw."""

import numpy as np
import scipy.sparse as sp

from raytagger.fit.hidden_labels import draw_order
from raytagger.fit.inputs import hide_labels
from raytagger.recipes.blend_unseen import draw_pseudo
from raytagger.recipes.xml0_weight import draw_hidden

LABELS, DOCUMENTS = 120, 3000
COUNT_L = np.random.default_rng(0).integers(0, 30, LABELS)
EVERY_L = np.ones(LABELS, bool)


def gold_of(count_L: np.ndarray) -> sp.csr_matrix:
    """As many documents of each label as it counts, spread over all."""
    rows = np.concatenate([np.arange(count) * 97 + 7 * label for label, count in enumerate(count_L)]) % DOCUMENTS
    columns = np.repeat(np.arange(len(count_L)), count_L)
    return sp.csr_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(DOCUMENTS, len(count_L)))


def test_what_one_method_hides_another_hides_too():
    gold = gold_of(COUNT_L)
    for seed in (0, 1, 2):
        guard = set(np.flatnonzero(hide_labels(gold, np.arange(DOCUMENTS), EVERY_L, 0.1, seed)).tolist())
        gate = set(draw_pseudo([], COUNT_L, EVERY_L, seed).tolist())
        weight = set(draw_hidden(gold, COUNT_L, EVERY_L, seed).tolist())
        assert 0 < len(guard) < len(gate) < len(weight)
        assert guard < gate < weight


def test_labels_without_a_text_change_no_draw():
    """They are hidden nowhere, and do not say what is rare."""
    rng = np.random.default_rng(1)
    usable_L = rng.random(LABELS) < 0.5
    count_L = np.where(usable_L, COUNT_L, rng.integers(20, 60, LABELS))
    gate = set(draw_pseudo([], count_L, usable_L, 0).tolist())
    weight = set(draw_hidden(gold_of(count_L), count_L, usable_L, 0).tolist())
    assert len(gate) > 0
    assert gate <= weight or weight <= gate


def test_the_draw_follows_the_seed():
    orders = [draw_order(COUNT_L, EVERY_L, seed).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
