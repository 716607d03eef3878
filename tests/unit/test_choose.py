"""Which search answers is chosen by features and label count."""

import pytest

from raytagger.errors import SettingsError
from raytagger.search import choose_index, choose_trees


@pytest.mark.parametrize(
    ("asked", "labels", "features", "kind"),
    [
        ("auto", 1000, "dense", "exact"),
        ("auto", 1_000_000, "dense", "hnsw"),
        ("ivf", 10, "dense", "ivf"),
        ("auto", 500, "terms", "flat"),
        ("auto", 100_000, "terms", "tree"),
        ("tree", 10, "terms", "tree"),
    ],
)
def test_by_features_and_label_count(asked, labels, features, kind):
    assert choose_index(asked, labels, features) == kind


@pytest.mark.parametrize(("asked", "features"), [("magic", "dense"), ("flat", "dense"), ("hnsw", "terms")])
def test_a_kind_that_does_not_fit_is_refused_with_those_that_do(asked, features):
    with pytest.raises(SettingsError, match=rf"search.index; got '{asked}'; expected auto, "):
        choose_index(asked, 10, features)


@pytest.mark.parametrize(
    ("asked", "labels", "index", "trees"),
    [(0, 2000, "tree", 1), (0, 2001, "tree", 3), (0, 2001, "flat", 1), (1, 2001, "tree", 1), (5, 10, "tree", 5)],
)
def test_as_many_trees_as_asked_else_by_label_count(asked, labels, index, trees):
    assert choose_trees(asked, labels, index) == trees
