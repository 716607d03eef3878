"""`LabelTree`: what it says of its levels, gold nodes against a slow loop, files, and what it refuses."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from raytagger.errors import BundleError
from raytagger.labels.tree import LabelTree


def offset(*places):
    return np.array(places, np.int64)


def small_tree():
    """Two nodes; three nodes below them; six labels of eight."""
    return LabelTree((offset(0, 2), offset(0, 1, 3), offset(0, 2, 5, 6)), np.array([7, 0, 3, 2, 5, 1], np.int32))


@st.composite
def trees(draw):
    """A tree of any shape over a part of the labels, and how many labels there are."""
    offsets, above = [], 1
    for _ in range(draw(st.integers(1, 4))):
        sizes = draw(st.lists(st.integers(1, 3), min_size=above, max_size=above))
        offsets.append(np.cumsum([0, *sizes]))
        above = sum(sizes)
    labels = above + draw(st.integers(0, 5))
    label_P = draw(st.permutations(range(labels)))[:above]
    return LabelTree(tuple(offsets), np.array(label_P, np.int32)), labels


def test_levels_are_counted_from_the_root_down():
    tree = small_tree()
    assert (tree.depth, tree.width) == (3, (2, 3, 6))
    assert [tree.parents(level).tolist() for level in range(3)] == [[0, 0], [0, 1, 1], [0, 0, 1, 1, 1, 2]]
    assert tree.place_L(8).tolist() == [1, 5, 3, 2, -1, 4, -1, 0]


def test_the_upper_levels_are_a_tree_over_nodes():
    upper = small_tree().upper(2)
    assert [level.tolist() for level in upper.offsets] == [[0, 2], [0, 1, 3]]
    assert upper.label_P.tolist() == [0, 1, 2]


@settings(max_examples=75, deadline=None)
@given(trees(), st.integers(0, 5), st.randoms())
def test_a_node_is_gold_if_a_label_below_it_is(given_, documents, random):
    tree, labels = given_
    gold_NL = np.array([[random.random() < 0.3 for _ in range(labels)] for _ in range(documents)], bool)
    gold_NL = gold_NL.reshape(documents, labels)
    levels = tree.gold_by_level(sp.csr_matrix(gold_NL))
    assert len(levels) == tree.depth
    expected_NP = np.array([[row[label] for label in tree.label_P] for row in gold_NL], bool)
    expected_NP = expected_NP.reshape(documents, len(tree.label_P))
    for level in reversed(range(tree.depth)):
        assert levels[level].dtype == bool
        assert levels[level].has_sorted_indices
        np.testing.assert_array_equal(levels[level].toarray(), expected_NP)
        spans = list(itertools.pairwise(tree.offsets[level].tolist()))
        above = [[row[start:stop].any() for start, stop in spans] for row in expected_NP]
        expected_NP = np.array(above, bool).reshape(documents, len(spans))


@settings(max_examples=100, deadline=None)
@given(trees())
def test_places_and_parents_agree_with_the_offsets(given_):
    tree, labels = given_
    place_L = tree.place_L(labels)
    for label in range(labels):
        places = [place for place, other in enumerate(tree.label_P) if other == label]
        assert place_L[label] == (places[0] if places else -1)
    for level, level_offset in enumerate(tree.offsets):
        parents = [node for node in range(len(level_offset) - 1) for _ in range(*level_offset[node : node + 2])]
        assert tree.parents(level).tolist() == parents


def test_a_saved_tree_is_read_again(tmp_path):
    tree = small_tree()
    tree.save(tmp_path)
    read = LabelTree.load(tmp_path, tree.depth)
    np.testing.assert_array_equal(read.label_P, tree.label_P)
    assert [level.tolist() for level in read.offsets] == [level.tolist() for level in tree.offsets]


@pytest.mark.parametrize(
    ("offsets", "label_P", "message"),
    [
        ([offset(0, 3)], [0, 1], "misses labels"),
        ([offset(0, 2)], [0, 1, 2], "misses labels"),
        ([offset(0, 3)], [0, 4, 4], "repeats a label; got 4"),
        ([offset(0, 257)], range(257), "too many siblings; got 257"),
        ([offset(0, 2), offset(0, 2)], [0, 1], "level 1 .* does not cut the 2 nodes"),
        ([offset(0, 2), offset(0, 2, 2)], [0, 1], "level 1 .* does not cut"),  # a node without children
        ([offset(1, 2)], [0], "level 0 .* does not cut"),
        ([offset(0, 1, 2)], [0, 1], "level 0 .* does not cut the 1 nodes"),
    ],
)
def test_a_tree_that_does_not_hold_together_is_refused(offsets, label_P, message):
    with pytest.raises(BundleError, match=message):
        LabelTree(tuple(offsets), np.array(label_P, np.int32))


def test_256_siblings_are_allowed():
    assert LabelTree((offset(0, 256),), np.arange(256, dtype=np.int32)).width == (256,)


@pytest.mark.parametrize(("labels", "siblings", "blocks"), [(1, 4, [1]), (8, 4, [4, 4]), (9, 4, [4, 4, 1])])
def test_a_flat_tree_is_blocks_of_labels_in_their_order(labels, siblings, blocks):
    label_L = np.arange(labels, dtype=np.int32)[::-1] * 2
    tree = LabelTree.flat(label_L, siblings)
    assert tree.width == (len(blocks), labels)
    assert np.diff(tree.offsets[1]).tolist() == blocks
    np.testing.assert_array_equal(tree.label_P, label_L)


def test_a_flat_tree_of_more_than_256_blocks_is_refused():
    with pytest.raises(BundleError, match="too many siblings; got 257"):
        LabelTree.flat(np.arange(257, dtype=np.int32), 1)
