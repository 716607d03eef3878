"""Balanced k-means trees: shape, balance, determinism, and that what is alike stands together."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from raytagger.errors import CorpusError, SettingsError
from raytagger.labels import grow
from raytagger.labels.grow import grow_tree


def nodes_of(tree):
    """The labels below every node, level by level, from the offsets alone."""
    below = [{int(label)} for label in tree.label_P]
    levels = []
    for offset in reversed(tree.offsets):
        levels.insert(0, below)
        below = [set().union(*below[start:stop]) for start, stop in itertools.pairwise(offset.tolist())]
    assert len(below) == 1
    return levels


def assert_well_formed(tree, labels, splits, leaf):
    assert sorted(tree.label_P.tolist()) == sorted(labels)
    assert tree.label_P.dtype == np.int32
    for level, (offset, nodes) in enumerate(zip(tree.offsets, nodes_of(tree), strict=True)):
        most = leaf if level == tree.depth - 1 else splits
        assert np.diff(offset).max() <= most
        for start, stop in itertools.pairwise(offset.tolist()):
            sizes = [len(node) for node in nodes[start:stop]]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 130), st.integers(2, 9), st.integers(1, 12), st.integers(0, 3), st.booleans())
def test_siblings_hold_equal_numbers_and_every_label_is_there_once(labels, splits, leaf, seed, sparse):
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(labels, 3)).astype(np.float32)
    tree = grow_tree(sp.csr_matrix(dense) if sparse else dense, splits, leaf, seed)
    assert_well_formed(tree, range(labels), splits, leaf)


@pytest.mark.parametrize(
    ("labels", "splits", "leaf", "width"),
    [
        (1, 2, 1, (1,)),
        (7, 16, 100, (7,)),  # one level
        (101, 16, 100, (2, 101)),
        (26_000, 16, 100, (2, 32, 512, 26_000)),  # PECOS's shape
        (1000, 10, 10, (10, 100, 1000)),
        (5, 2, 1, (2, 4, 5, 5)),  # fewer labels than the last nodes
        (3, 256, 1, (3, 3)),  # fewer labels than splits
    ],
)
def test_the_shape_hangs_on_numbers_alone(labels, splits, leaf, width):
    embedding_LD = np.random.default_rng(0).normal(size=(labels, 2)).astype(np.float32)
    assert grow_tree(embedding_LD, splits, leaf, 0).width == width


def clusters(count, size, dimensions=20, spread=0.05):
    """Rows of unit length around orthogonal directions, shuffled; the embedding and each row's cluster."""
    rng = np.random.default_rng(0)
    cluster_L = rng.permutation(np.repeat(np.arange(count), size))
    noise = rng.normal(size=(count * size, dimensions)) * spread
    return (np.eye(dimensions)[cluster_L] + noise).astype(np.float32), cluster_L


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize(("count", "splits"), [(8, 8), (8, 2), (6, 6), (5, 5)])
def test_clusters_that_stand_apart_are_found(form, count, splits):
    embedding_LD, cluster_L = clusters(count, 12)
    tree = grow_tree(form(embedding_LD), splits, 12, 0)
    found = [{int(cluster_L[label]) for label in node} for node in nodes_of(tree)[-2]]
    assert sorted(found, key=min) == [{cluster} for cluster in range(count)]


def test_lengths_of_rows_do_not_matter():
    embedding_LD, _ = clusters(4, 10)
    scale_L1 = 2.0 ** np.arange(-20, 20)[:, None]
    scaled = grow_tree((embedding_LD * scale_L1).astype(np.float32), 2, 10, 0)
    np.testing.assert_array_equal(scaled.label_P, grow_tree(embedding_LD, 2, 10, 0).label_P)


def sum_of_cosines(embedding_LD, groups):
    rows = embedding_LD / np.linalg.norm(embedding_LD, axis=1, keepdims=True)
    return sum(np.linalg.norm(rows[list(group)].sum(axis=0)) for group in groups)


def test_a_cut_in_two_is_nearly_the_best_of_all():
    rng = np.random.default_rng(0)
    for seed in range(8):
        embedding_LD = rng.normal(size=(10, 2)).astype(np.float32)
        tree = grow_tree(embedding_LD, 2, 5, seed)
        halves = itertools.combinations(range(10), 5)
        best = max(sum_of_cosines(embedding_LD, [half, set(range(10)) - set(half)]) for half in halves)
        assert sum_of_cosines(embedding_LD, nodes_of(tree)[0]) > 0.97 * best


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_the_seed_decides(form):
    embedding_LD = form(np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))
    first, again, other = (grow_tree(embedding_LD, 4, 10, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.label_P, again.label_P)
    assert (first.label_P != other.label_P).any()


def test_dense_and_sparse_grow_the_same_tree():
    embedding_LD, _ = clusters(8, 12, spread=0.1)
    embedding_LD[np.abs(embedding_LD) < 0.05] = 0
    dense, sparse = grow_tree(embedding_LD, 4, 12, 0), grow_tree(sp.csr_matrix(embedding_LD), 4, 12, 0)
    np.testing.assert_array_equal(dense.label_P, sparse.label_P)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_many_labels_are_cut_by_a_sample(form, monkeypatch):
    monkeypatch.setattr(grow, "SAMPLE", 32)
    embedding_LD, cluster_L = clusters(8, 30)
    tree = grow_tree(form(embedding_LD), 2, 30, 0)
    assert_well_formed(tree, range(240), 2, 30)
    # A sample's halves are not exactly the whole's, so that a few labels at the borders stand apart.
    pure = sum(np.bincount(cluster_L[list(node)]).max() for node in nodes_of(tree)[-2])
    assert pure > 0.85 * 240


def test_only_the_labels_that_take_part_are_in_the_tree():
    embedding_LD, cluster_L = clusters(4, 10)
    label_L = np.flatnonzero(cluster_L != 2)[::-1]
    tree = grow_tree(embedding_LD, 3, 10, 0, label_L)
    assert_well_formed(tree, label_L.tolist(), 3, 10)
    assert [len({int(cluster_L[label]) for label in node}) for node in nodes_of(tree)[0]] == [1, 1, 1]


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("value", [0, 1])
def test_labels_that_are_all_alike_are_cut_all_the_same(form, value):
    tree = grow_tree(form(np.full((50, 3), value, np.float32)), 3, 4, 0)
    assert_well_formed(tree, range(50), 3, 4)


def test_labels_without_an_embedding_leave_the_others_together():
    embedding_LD, cluster_L = clusters(2, 10)
    embedding_LD = np.concatenate([embedding_LD, np.zeros((4, 20), np.float32)])
    tree = grow_tree(sp.csr_matrix(embedding_LD), 2, 12, 0)
    assert_well_formed(tree, range(24), 2, 12)
    found = [{int(cluster_L[label]) for label in node if label < 20} for node in nodes_of(tree)[0]]
    assert sorted(found, key=min) == [{0}, {1}]


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_siblings_that_are_labels_stand_in_ascending_order(form):
    tree = grow_tree(form(clusters(4, 10)[0]), 2, 10, 0)
    for start, stop in itertools.pairwise(tree.offsets[-1].tolist()):
        assert (np.diff(tree.label_P[start:stop]) > 0).all()


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_refused(form, value):
    embedding_LD = np.ones((5, 3), np.float32)
    embedding_LD[3, 1] = value
    with pytest.raises(CorpusError, match=r"not finite.*label 3"):
        grow_tree(form(embedding_LD), 2, 2, 0)


@pytest.mark.parametrize(
    ("splits", "leaf", "name"), [(1, 5, "splits"), (257, 5, "splits"), (2, 0, "leaf"), (2, 257, "leaf")]
)
def test_settings_out_of_range_are_refused(splits, leaf, name):
    with pytest.raises(SettingsError, match=name):
        grow_tree(np.eye(3, dtype=np.float32), splits, leaf, 0)


@pytest.mark.parametrize("label_L", [[0, 3], [-1, 2]])
def test_a_label_outside_the_embedding_is_refused(label_L):
    with pytest.raises(CorpusError, match="0 to 2"):
        grow_tree(np.eye(3, dtype=np.float32), 2, 2, 0, label_L)


def test_a_tree_without_labels_is_refused():
    with pytest.raises(CorpusError, match="without labels"):
        grow_tree(np.zeros((0, 3), np.float32), 2, 2, 0)
