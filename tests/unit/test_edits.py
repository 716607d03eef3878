import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytagger.corpus.edits import Add, Edit, Mark, Merge, Reparent, Retire, Reword, Split, apply, diff, read_edits
from raytagger.corpus.labels import LabelSet
from raytagger.errors import CorpusError
from raytagger.store import Store

OLD = LabelSet(("a", "b", "c"), ("A", "B", "C"), ("", "bee", ""), seen=(True, True, False))
ALL = [
    Add("d", "D", "dee", ("a",)),
    Reword("a", "A2"),
    Reparent("b", ("a",)),
    Merge(("b", "c"), "a"),
    Split("b", (Add("b1", "B1"), Add("b2", text="bee two"))),
    Retire("c"),
    Mark("a", False),
]


def active(labels):
    rows = zip(labels.ids, labels.titles, labels.texts, labels.parents, labels.status, strict=True)
    return {label_id: rest for label_id, *rest, status in rows if status == "active"}


@st.composite
def label_sets(draw):
    ids = draw(st.lists(st.sampled_from("abcdefg"), unique=True))
    words = st.sampled_from(["", "x", "y"])

    def column(values):
        return tuple(draw(values) for _ in ids)

    parents = st.lists(st.sampled_from("abc"), max_size=2).map(tuple)
    return LabelSet(
        tuple(ids), column(words), column(words), column(parents), column(st.sampled_from(["active", "retired"]))
    )


@given(label_sets(), label_sets())
def test_applying_the_difference_gives_the_new_content(old, new):
    result = apply(old, diff(old, new))
    assert active(result) == active(new)
    assert result.ids[: len(old)] == old.ids
    assert diff(result, new) == []


def test_the_difference_of_a_set_to_itself_is_nothing():
    assert diff(OLD, OLD) == []


def test_another_mark_is_an_edit_that_asks_for_a_new_fit():
    new = LabelSet(OLD.ids, OLD.titles, OLD.texts, seen=(False, True, True))
    edits = diff(OLD, new)
    assert edits == [Mark("a", False), Mark("c", True)]
    assert [f"{edit}  # {edit.recompute}" for edit in edits] == [
        "Mark(label_id='a', seen: true → false)  # fit again",
        "Mark(label_id='c', seen: false → true)  # fit again",
    ]
    assert apply(OLD, edits).seen == new.seen
    unmarked = LabelSet(OLD.ids, OLD.titles, OLD.texts)  # no column `seen`: all may be trained
    assert diff(unmarked, LabelSet(OLD.ids, OLD.titles, OLD.texts, seen=(True,) * 3)) == []
    assert apply(unmarked, diff(unmarked, new)).seen == new.seen


def test_indices_are_kept_and_new_labels_appended():
    labels = apply(OLD, [Retire("a"), Add("d", "D"), Reword("b", "B2"), Add("a", "A again"), Reparent("b", ("a",))])
    assert labels.ids == ("a", "b", "c", "d")
    assert labels.titles == ("A again", "B2", "C", "D")
    assert labels.texts == ("", "", "", "")
    assert labels.parents == ((), ("a",), (), ())
    assert labels.status == ("active",) * 4
    assert labels.seen == (True, True, False, True)


def test_merge_retires_the_sources():
    labels = apply(OLD, [Merge(("b", "c"), "a")])
    assert labels.status == ("active", "retired", "retired")
    assert labels.titles == OLD.titles


def test_split_retires_the_label_and_appends_its_parts():
    labels = apply(OLD, [Split("b", (Add("b1", "B1"), Add("b2", "B2")))])
    assert labels.ids == ("a", "b", "c", "b1", "b2")
    assert labels.status == ("active", "retired", "active", "active", "active")


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([Reword("bb", "x")], r"edit 1 \(reword\): the label set has no such label; got 'bb'. Did you mean b"),
        ([Reparent("?", ())], "no such label"),
        ([Retire("?")], "no such label"),
        ([Retire("a"), Retire("a")], r"edit 2 \(retire\): the label is retired"),
        ([Add("a", "A")], "already there"),
        ([Add("d"), Add("d")], "already there"),
        ([Add("", "x")], "no id"),
        ([Merge(("a", "?"), "b")], "no such label"),
        ([Merge(("a",), "?")], "no such label"),
        ([Merge(("a", "b"), "b")], "sources are wrong"),
        ([Merge(("a", "a"), "b")], "sources are wrong"),
        ([Merge((), "b")], "sources are wrong"),
        ([Split("?", (Add("d"),))], "no such label"),
        ([Split("a", ())], "no parts"),
        ([Split("a", (Add("d"), Add("d")))], "already there"),
        ([Split("a", (Add("a"),))], "already there"),
    ],
)
def test_edits_that_do_not_fit_are_errors(edits, message):
    with pytest.raises(CorpusError, match=message):
        apply(OLD, edits)


@pytest.mark.parametrize(
    ("edit", "encode", "retag", "documents"),
    [
        (ALL[0], ("d",), (), "all"),
        (ALL[1], ("a",), ("a",), "all"),
        (ALL[2], (), (), "none"),
        (ALL[3], (), ("b", "c"), "tagged"),
        (ALL[4], ("b1", "b2"), ("b",), "all"),
        (ALL[5], (), ("c",), "tagged"),
    ],
)
def test_each_edit_says_what_it_makes_stale(edit, encode, retag, documents):
    stale = edit.recompute
    assert (stale.encode, stale.retag, stale.documents) == (encode, retag, documents)


def test_what_is_stale_can_be_read():
    texts = [str(edit.recompute) for edit in ALL]
    assert texts[0] == "encode 1 label text and score all documents against it"
    assert texts[2] == "nothing"
    assert texts[3] == "re-tag the documents tagged b, c"
    assert texts[4].startswith("encode 2 label texts and score all documents against them; re-tag")


@pytest.mark.parametrize("edit", ALL, ids=lambda edit: edit.kind)
def test_edits_go_to_json_and_back(edit):
    assert Edit.from_dict(json.loads(json.dumps(edit.to_dict()))) == edit


def test_edits_are_read_from_a_file(tmp_path):
    path = tmp_path / "edits.jsonl"
    path.write_text("\n\n".join(json.dumps(edit.to_dict()) for edit in ALL))
    assert read_edits(Store(), str(path)) == ALL


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            b'{"kind": "rename", "label_id": "a"}',
            "line 1: unknown kind of edit; got 'rename'; expected add, reword",
        ),
        (b'{"label_id": "a"}', "unknown kind"),
        (b'{"kind": "add"}', "wrong fields"),
        (b'{"kind": "retire", "label_id": "a", "why": "x"}', "wrong fields"),
        (b'{"kind": "retire", "label_id": 5}', "wrong label_id"),
        (b'{"kind": "merge", "sources": "ab", "target": "c"}', "wrong sources"),
        (b'{"kind": "split", "label_id": "a", "parts": ["b"]}', "wrong parts"),
        (b'{"kind": ', "line 1 is not JSON"),
        (b'{"kind": "\xff"}', "line 1 is not JSON"),
        (b"[]", "not a JSON object"),
    ],
)
def test_bad_lines_are_errors(tmp_path, line, message):
    (tmp_path / "edits.jsonl").write_bytes(line)
    with pytest.raises(CorpusError, match=message):
        read_edits(Store(), str(tmp_path / "edits.jsonl"))
