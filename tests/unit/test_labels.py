import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytagger.corpus import LabelSet, read_labels
from raytagger.corpus.labels import from_table
from raytagger.errors import CorpusError
from raytagger.store import Store

NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
)


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_labels(Store(), str(path))


def test_a_label_set_goes_to_a_file_and_back(tmp_path):
    labels = LabelSet(("a", "b"), ("A", ""), ("", "bee"), ((), ("a",)), ("active", "retired"), (True, False))
    pq.write_table(labels.to_table(), tmp_path / "labels.parquet")
    again = read_labels(Store(), str(tmp_path))
    assert again == labels
    assert again.fingerprint == labels.fingerprint
    assert again.index == {"a": 0, "b": 1}
    np.testing.assert_array_equal(again.active_L, [True, False])


def test_title_and_text_are_joined():
    table = pa.table({"id": ["1", "2", "3", "4"], "title": ["T", " T ", None, ""], "text": ["x", "", "x", None]})
    assert from_table(table).full_texts == ["T. x", "T", "x", ""]


def test_which_labels_may_be_answered_is_found_out_once():
    """A tagger asks for it with every call, and a million labels take 50 ms."""
    table = pa.table({"id": ["1", "2", "3"], "title": ["T", "", "U"], "status": ["active", "active", "retired"]})
    labels = from_table(table)
    assert labels.predictable_L.tolist() == [True, False, False]
    assert labels.predictable_L is labels.predictable_L
    assert not labels.predictable_L.flags.writeable


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "label_id,title,parents,status,seen\n1,one,,,true\n2,two,1;0,retired,0\n"),
        ("l.tsv", "id\ttitle\tparents\tstatus\tseen\n1\tone\t\t\t\n2\ttwo\t1|0\tretired\tno\n"),
        (
            "l.jsonl",
            '{"id": 1, "title": "one"}\n'
            '{"id": "2", "title": "two", "parents": [1, "0"], "status": "retired", "seen": false}\n',
        ),
    ],
)
def test_row_formats(tmp_path, name, content):
    labels = read(tmp_path / name, content)
    assert labels == LabelSet(
        ("1", "2"), ("one", "two"), ("", ""), ((), ("1", "0")), ("active", "retired"), (True, False)
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.jsonl", '{"title": "a"}\n', "no column label_id or id"),
        ("l.jsonl", '{"name": "a"}\n', r"no column label_id or id; got \['name'\]"),
        ("l.jsonl", '{"id": "a"}\n', "neither title nor text"),
        ("l.jsonl", '{"id": "a", "text": "b"}\n{"id": "a", "text": "c"}\n', r"occur twice; got \['a'\]"),
        ("l.jsonl", '{"id": "", "text": "b"}\n{"id": null, "text": "c"}\n', r"2 labels have no id"),
        ("l.jsonl", '{"id": "a", "text": "b", "status": "gone"}\n', "unknown status"),
        ("l.jsonl", '{"id": "a", "text": "b"}\n{"id": \n', "line 2 is not_json"),
        ("l.jsonl", b'{"id": "a", "text": "\xff"}\n', "line 1 is not_utf8"),
        ("l.csv", "id,text,seen\na,b,perhaps\n", "line 2 is wrong_type: seen"),
        ("l.csv", "id,text,Seen\na,b,no\n", "a column is passed over; got 'Seen'; expected seen"),
        ("l.jsonl", '{"id": "a", "text": "b", "STATUS": "retired"}\n', "passed over; got 'STATUS'"),
        ("l.csv", b"id,text\na,\xff\n", "line 2 is not_utf8"),
        ("l.csv", "id,text\n", "no labels"),
        ("l.jsonl", "", "no labels"),
        ("l.parquet", b"PAR1 cut off", "cannot be read"),
    ],
)
def test_a_bad_label_file_is_an_error(tmp_path, name, content, message):
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / name, content)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1.5], "text": ["a"]}, "column id has the wrong type; got 'double'"),
        ({"id": [None], "text": ["a"]}, "no id"),
        ({"id": ["1"], "text": [5]}, "column text has the wrong type"),
        ({"id": ["1"], "text": ["a"], "parents": ["abc"]}, "column parents has the wrong type"),
        ({"id": ["1"], "text": ["a"], "status": [True]}, "column status has the wrong type"),
        (
            {"id": ["1", "2"], "text": ["a", "b"], "seen": ["no", "perhaps"]},
            "row 2: column seen: 'perhaps' is neither",
        ),
        ({"id": ["1"], "text": ["a"], "seen": [2]}, "row 1: column seen: 2 is neither"),
        ({"id": ["1"], "text": ["a"], "seen": [["no"]]}, "column seen has the wrong type"),
        ({"id": ["1"], "text": NOT_UTF8}, "column text is not UTF-8"),
    ],
)
def test_a_bad_label_table_is_an_error(columns, message):
    with pytest.raises(CorpusError, match=message):
        from_table(pa.table(columns))


@pytest.mark.parametrize("name", ["l.csv", "l.tsv", "l.jsonl", "l.parquet"])
@pytest.mark.parametrize(
    "seen",
    [
        [True, False, None],
        [1, 0, None],
        [1.0, 0.0, None],
        ["true", "false", ""],
        ["True", "False", None],
        ["yes", "no", None],
        ["1", "0", " "],
        ["1.0", "0.0", None],
    ],
)
def test_seen_is_read_however_it_is_spelled(tmp_path, name, seen):
    rows = [{"id": f"l{row}", "title": f"t{row}", "seen": value} for row, value in enumerate(seen)]
    if name == "l.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    elif name == "l.jsonl":
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        delimiter = "\t" if name == "l.tsv" else ","
        cells = ["" if value is None else str(value) for value in seen]
        lines = [["id", "title", "seen"], *([f"l{row}", f"t{row}", cell] for row, cell in enumerate(cells))]
        (tmp_path / name).write_text("".join(delimiter.join(line) + "\n" for line in lines))
    labels = read_labels(Store(), str(tmp_path / name))
    assert labels.seen == (True, False, True)


def test_the_fingerprint_follows_the_content():
    labels = LabelSet(("a", "b"), ("A", "B"), ("", ""))
    changed = [
        LabelSet(("b", "a"), ("B", "A"), ("", "")),
        LabelSet(("a", "b"), ("A", ""), ("", "B")),
        LabelSet(("a", "b"), ("A", "B"), ("", ""), ((), ("a",))),
        LabelSet(("a", "b"), ("A", "B"), ("", ""), status=("active", "retired")),
    ]
    assert len({labels.fingerprint, *(other.fingerprint for other in changed)}) == 5
    assert LabelSet(("a", "b"), ("A", "B"), ("", ""), seen=(True, True)).fingerprint == labels.fingerprint
    marked = {
        LabelSet(("a", "b"), ("A", "B"), ("", ""), seen=seen).fingerprint for seen in ((True, False), (False, True))
    }
    assert len(marked | {labels.fingerprint}) == 3


def test_merging_keeps_indices_appends_and_retires():
    old = LabelSet(("a", "b", "c"), ("A", "B", "C"), ("", "", ""))
    new = LabelSet(("d", "c", "a"), ("D", "C2", "A"), ("", "", ""), seen=(True, False, True))
    merged = old.merged(new)
    assert merged.ids == ("a", "b", "c", "d")
    assert merged.titles == ("A", "B", "C2", "D")
    assert merged.status == ("active", "retired", "active", "active")
    assert merged.seen == (True, False, False, True)


def test_labels_may_lie_in_several_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": name, "text": name}))
    assert read_labels(Store(), str(tmp_path)).ids == ("a", "b")


def test_labels_below_another_are_found_by_their_parents():
    parents = ((), ("a",), ("b", "e"), (), ("d",), ("x",))
    labels = LabelSet(("a", "b", "c", "d", "e", "x"), ("A",) * 6, ("",) * 6, parents)
    assert labels.below("a").tolist() == [True, True, True, False, False, False]
    assert labels.below("d").tolist() == [False, False, True, True, True, False]
    assert labels.below("x").tolist() == [False] * 5 + [True]  # its own parent, which must not be followed for ever
    with pytest.raises(CorpusError, match=r"no such labels; got \['z'\]"):
        labels.below("z")
