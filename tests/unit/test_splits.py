from collections import Counter, defaultdict

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytagger.corpus.splits import HoldOutRule, choose_held_out, move_held_out, split_by_group
from raytagger.errors import CorpusError

SHARES = {"test": 0.2, "val": 0.1, "train": 0.7}


@given(st.lists(st.text(max_size=2), max_size=50), st.integers(0, 3))
def test_a_group_is_never_cut(groups, seed):
    splits = defaultdict(set)
    for group, split in zip(groups, split_by_group(groups, SHARES, seed), strict=True):
        splits[group].add(split)
    assert all(len(found) == 1 for found in splits.values())


def test_shares_are_kept_and_the_seed_decides():
    groups = [f"g{row}" for row in range(5000)]
    splits = split_by_group(groups, SHARES, 0)
    assert {name: count / 5000 for name, count in Counter(splits).items()} == pytest.approx(SHARES, abs=0.02)
    assert splits == split_by_group(groups, SHARES, 0)
    assert splits != split_by_group(groups, SHARES, 1)


def test_a_group_added_later_moves_no_other():
    assert split_by_group(["new", "a", "b"], SHARES, 0)[1:] == split_by_group(["a", "b"], SHARES, 0)


def test_all_or_nothing_shares():
    groups = [str(row) for row in range(200)]
    assert set(split_by_group(groups, {"train": 1.0, "test": 0.0}, 0)) == {"train"}
    assert set(split_by_group(groups, {"test": 0.0, "train": 1.0}, 0)) == {"train"}


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_wrong_shares_are_an_error(shares):
    with pytest.raises(CorpusError, match="sum 1"):
        split_by_group(["a"], shares, 0)


def test_a_document_without_group_is_an_error():
    with pytest.raises(CorpusError, match="document 1 has no group"):
        split_by_group(["a", None], SHARES, 0)


def test_held_out_labels_have_the_right_frequency():
    counts = {f"l{row}": row for row in range(100)}
    held_out = choose_held_out(counts, HoldOutRule(share=0.1, least=5, most=30))
    assert len(held_out) == 10
    assert all(5 <= counts[label] <= 30 for label in held_out)
    assert held_out == choose_held_out(dict(reversed(counts.items())), HoldOutRule(0.1, 5, 30))
    assert held_out != choose_held_out(counts, HoldOutRule(0.1, 5, 30, seed=1))
    assert len(choose_held_out(counts, HoldOutRule(share=1.0))) == 99
    assert choose_held_out({}, HoldOutRule()) == []


def test_a_share_above_one_is_an_error():
    with pytest.raises(CorpusError, match="share of held-out labels"):
        choose_held_out({"a": 1}, HoldOutRule(share=10))


def test_training_documents_of_held_out_labels_move_whole():
    documents = pa.table(
        {
            "doc_id": ["1", "2", "3", "4", "5"],
            "labels": [["a", "h"], ["h"], ["h"], None, ["a"]],
            "split": ["train", "val", "test", "train", "train"],
            "n": [1, 2, 3, 4, 5],
        }
    )
    moved = move_held_out(documents, ["h"])
    assert moved["split"].to_pylist() == ["zeroshot", "zeroshot", "test", "train", "train"]
    assert moved.drop(["split"]) == documents.drop(["split"])
    assert moved.column_names == documents.column_names
