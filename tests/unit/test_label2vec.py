"""label2vec: what it learns, and that nothing but lists and seed decides it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from raytagger.errors import CorpusError
from raytagger.labels.label2vec import PRESETS, Label2VecSettings, label2vec

SETTINGS = Label2VecSettings(epochs=10, dimensions=16, negatives=5)
GROUPS, PER_GROUP = 4, 6


def grouped_lists(documents=400):
    """Labels of a group stand beside each other, labels of two groups never do."""
    rng = np.random.default_rng(0)
    return [
        (rng.integers(GROUPS) * PER_GROUP + rng.choice(PER_GROUP, 4, replace=False)).tolist()
        for _ in range(documents)
    ]


def test_labels_that_stand_together_end_up_closer_than_labels_that_never_do():
    cosine = (rows := label2vec(grouped_lists(), GROUPS * PER_GROUP, SETTINGS, 0)) @ rows.T
    group = np.arange(GROUPS * PER_GROUP) // PER_GROUP
    together = group[:, None] == group
    np.fill_diagonal(cosine, np.nan)
    assert np.nanmin(cosine[together]) > np.nanmax(cosine[~together])


def test_rows_have_unit_length_and_labels_without_company_have_none():
    lists = [*grouped_lists(50), [24], [24, 24], []]
    found = label2vec(lists, 26, SETTINGS, 0)
    assert found.shape == (26, 16)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1] * 24 + [0, 0], rtol=1e-5)


def test_neither_order_nor_repeats_within_a_list_matter():
    lists = grouped_lists(60)
    mixed = [row[::-1] + row[:1] for row in lists]
    np.testing.assert_array_equal(label2vec(lists, 24, SETTINGS, 0), label2vec(mixed, 24, SETTINGS, 0))


def test_the_window_is_the_longest_list():
    # In ascending order, labels of every document stand between a document's first and last ones.
    first, second, every = list(range(5)), list(range(5, 10)), list(range(10, 25))
    lists = [[*first, *every, *range(25, 30)], [*second, *every, *range(30, 35)]] * 60
    rows = label2vec(lists, 35, SETTINGS, 0)
    ends = rows[:10].reshape(2, 5, -1).mean(1) @ rows[25:].reshape(2, 5, -1).mean(1).T
    assert np.diag(ends).min() > np.fliplr(ends).diagonal().max() + 0.8  # 0.65 with windows that gensim shrinks


def test_seeds_differ_and_the_same_seed_repeats():
    lists = grouped_lists(60)
    first = label2vec(lists, 24, SETTINGS, 3)
    np.testing.assert_array_equal(first, label2vec(lists, 24, SETTINGS, 3))
    assert not np.allclose(first, label2vec(lists, 24, SETTINGS, 4))


@pytest.mark.slow
def test_the_hash_seed_of_the_process_does_not_matter():
    code = (
        "from raytagger.labels.label2vec import *; from tests.unit.test_label2vec import *; "
        "print(label2vec(grouped_lists(30), 24, SETTINGS, 0).tobytes().hex())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == label2vec(grouped_lists(30), 24, SETTINGS, 0).tobytes().hex()


@pytest.mark.parametrize("lists", [[], [[]], [[0], [1]]])
def test_without_labels_side_by_side_nothing_is_learnt(lists):
    assert not label2vec(lists, 3, SETTINGS, 0).any()


@pytest.mark.parametrize(("lists", "message"), [([[0, 3]], "0 to 2"), ([[-1, 0]], "0 to 2")])
def test_an_index_outside_the_label_set_is_refused(lists, message):
    with pytest.raises(CorpusError, match=message):
        label2vec(lists, 3, SETTINGS, 0)


def test_a_list_that_gensim_would_cut_is_refused():
    with pytest.raises(CorpusError, match="too many labels"):
        label2vec([range(10_001)], 10_001, SETTINGS, 0)


def test_the_presets_are_the_papers_table():
    table = {name: (preset.negative_exponent, preset.epochs) for name, preset in PRESETS.items()}
    assert table == {
        "eurlex-4k": (0.5, 20),
        "wiki10-31k": (1.0, 20),
        "amazoncat-13k": (0.5, 20),
        "wiki-500k": (-1.0, 50),
        "amazon-670k": (0.5, 50),
        "amazon-3m": (-0.5, 20),
    }
    for preset in PRESETS.values():
        assert (preset.dimensions, preset.negatives) == (100, 20)
        assert (preset.learning_rate, preset.last_learning_rate) == (2.5e-2, 1e-4)
