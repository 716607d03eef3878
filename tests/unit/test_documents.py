import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raytagger.corpus import list_documents, read_documents, select_splits
from raytagger.errors import CorpusError, StoreError
from raytagger.schema import REJECT_SCHEMA
from raytagger.settings import SourceSettings
from raytagger.store import Store

NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfeok")]
)


def read(path, rows=2048, **source: object):
    settings = SourceSettings(documents=str(path), **{"max_reject_share": 1.0, **source})
    chunks = list(read_documents(Store(), settings, rows))
    assert all(chunk.rejects.schema == REJECT_SCHEMA for chunk in chunks)
    documents = pa.concat_tables([chunk.documents for chunk in chunks], promote_options="default").to_pylist()
    rejects = pa.concat_tables([chunk.rejects for chunk in chunks])
    return documents, [(row["doc_id"], row["reason"]) for row in rejects.to_pylist()]


def write_lines(path, *lines: object):
    rows = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(rows) + b"\n")
    return path


def write_parquet(path, **columns: object):
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_with_integer_ids_and_carried_columns(tmp_path):
    path = write_parquet(
        tmp_path / "d.parquet",
        id=[1, 2],
        text=["a", "b"],
        labels=[["x"], None],
        split=["train", "test"],
        n=[5, 6],
    )
    documents, rejects = read(path, columns=("n",), rows=1)
    assert documents == [
        {"doc_id": "1", "text": "a", "labels": ["x"], "split": "train", "n": 5},
        {"doc_id": "2", "text": "b", "labels": None, "split": "test", "n": 6},
    ]
    assert rejects == []


@pytest.mark.parametrize(
    ("kind", "labels_kind"),
    [
        (pa.large_string(), pa.large_list(pa.large_string())),
        (pa.string_view(), pa.list_(pa.int64())),
        (pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string(), 1)),
    ],
)
def test_parquet_of_other_writers(tmp_path, kind, labels_kind):
    labels = pa.array([["7"]]).cast(labels_kind)
    path = write_parquet(tmp_path / "d.parquet", doc_id=pa.array(["1"]).cast(kind), text=["a"], labels=labels)
    documents, _ = read(path)
    assert documents == [{"doc_id": "1", "text": "a", "labels": ["7"], "split": None}]


def test_fields_are_joined_and_empty_ones_leave_no_separator(tmp_path):
    rows = [("T", "B"), ("T", ""), (None, "B"), (" ", "B"), ("", None)]
    lines = [{"id": str(row), "title": title, "body": body} for row, (title, body) in enumerate(rows)]
    documents, rejects = read(write_lines(tmp_path / "d.jsonl", *lines), fields=("title", "body"))
    assert [row["text"] for row in documents] == ["T. B", "T", "B", "B"]
    assert rejects == [("4", "empty_text")]


def test_bad_json_lines_are_rejected_one_by_one(tmp_path):
    path = write_lines(
        tmp_path / "d.jsonl",
        {"id": "good", "text": "a"},
        b'{"id": "1", "text": "\xff"}',
        b'{"id": "2", "text": ',
        b"",
        b"   ",
        b"[1]",
        b"[" * 100_000,
        {"id": "5", "text": 5},
        {"id": "6", "text": "a", "labels": "not a list"},
        {"id": "7", "text": "a", "labels": [["b"]]},
        b'{"id": "8", "text": "\\ud800"}',
        {"id": None, "text": "a"},
        {"text": "a"},
        {"id": "9"},
        {"id": "10", "text": " \n"},
        {"id": "11", "text": "é" * 6},
        {"id": 12, "text": "é" * 5, "labels": ["a", 3]},
    )
    documents, rejects = read(path, max_bytes=10)
    assert [(row["doc_id"], row["labels"]) for row in documents] == [("good", None), ("12", ["a", "3"])]
    assert dict(rejects) == {
        "d.jsonl:2": "not_utf8",
        "d.jsonl:3": "not_json",
        "d.jsonl:6": "not_json",
        "d.jsonl:7": "not_json",
        "5": "wrong_type",
        "6": "wrong_type",
        "7": "wrong_type",
        "8": "not_utf8",
        "d.jsonl:12": "no_id",
        "d.jsonl:13": "no_id",
        "9": "empty_text",
        "10": "empty_text",
        "11": "too_long",
    }


def test_carried_json_values_keep_a_type(tmp_path):
    first = {
        "id": 1,
        "text": "a",
        "n": 1,
        "x": 1.5,
        "ok": True,
        "names": ["b"],
        "deep": {"k": [1]},
        "late": None,
    }
    second = {"id": 2, "text": "a", "n": None, "x": 2}
    third = {"id": 3, "text": "a", "late": 3}
    fourth = {"id": 4, "text": "a", "n": 2.5}
    path = write_lines(
        tmp_path / "d.jsonl", first, second, *({"id": row, "text": "a"} for row in range(5, 104)), third, fourth
    )
    documents, rejects = read(path, columns=("n", "x", "ok", "names", "deep", "late"), rows=7)
    assert (documents[0]["n"], documents[0]["ok"], documents[0]["names"]) == (1, True, ["b"])
    assert (documents[0]["deep"], documents[1]["x"], documents[-1]["late"]) == ('{"k": [1]}', 2.0, "3")
    assert rejects == [("4", "wrong_type")]


def test_labels_may_begin_below_the_head_of_a_json_file(tmp_path):
    bare = [{"id": row, "text": "a"} for row in range(150)]
    path = write_lines(tmp_path / "d.jsonl", *bare, {"id": "x", "text": "a", "labels": ["l"], "split": "test"})
    assert read(path, rows=20)[0][-1] == {"doc_id": "x", "text": "a", "labels": ["l"], "split": "test"}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 nothing like it PAR1", "cut"])
def test_unreadable_parquet_is_one_error(tmp_path, content):
    path = write_parquet(tmp_path / "d.parquet", id=["1"] * 1000, text=["text"] * 1000)
    path.write_bytes(path.read_bytes()[:-100] if content == "cut" else content)
    with pytest.raises(CorpusError, match=r"d\.parquet cannot be read"):
        read(path)


def test_parquet_damaged_in_its_data_is_one_error(tmp_path):
    path = write_parquet(tmp_path / "d.parquet", id=["1"] * 1000, text=[f"text {row}" for row in range(1000)])
    content = bytearray(path.read_bytes())
    content[4:2000] = b"\xff" * 1996
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"d\.parquet cannot be read"):
        read(path)


def test_strings_of_parquet_that_are_not_utf8_are_rejected(tmp_path):
    path = write_parquet(tmp_path / "text.parquet", id=["a", "b"], text=NOT_UTF8)
    assert read(path)[1] == [("a", "not_utf8")]
    assert read(path, rows=1)[0][0]["text"] == "ok"
    path = write_parquet(tmp_path / "id.parquet", id=NOT_UTF8, text=["a", "b"])
    assert read(path)[1] == [("id.parquet:1", "not_utf8")]
    labels = pa.ListArray.from_arrays([0, 1, 2], NOT_UTF8)
    path = write_parquet(tmp_path / "labels.parquet", id=["a", "b"], text=["a", "b"], labels=labels)
    assert read(path)[1] == [("a", "not_utf8")]
    path = write_parquet(tmp_path / "unasked.parquet", id=["a", "b"], text=["a", "b"], other=NOT_UTF8)
    assert read(path)[1] == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["1"], "text": ["a"], "labels": ["x"]}, "column labels has the wrong type"),
        ({"id": ["1"], "text": ["a"], "labels": [[1.5]]}, "column labels has the wrong type"),
        ({"id": ["1"], "text": [5]}, "column text has the wrong type"),
        ({"id": [1.5], "text": ["a"]}, "column id has the wrong type"),
        ({"id": ["1"], "text": ["a"], "split": [1]}, "column split has the wrong type"),
        ({"text": ["a"]}, "no column doc_id or id"),
        ({"id": ["1"], "body": ["a"]}, r"no column text; got \['id', 'body'\].*source.fields"),
    ],
)
def test_parquet_with_a_wrong_or_missing_column_is_an_error(tmp_path, columns, message):
    with pytest.raises(CorpusError, match=message):
        read(write_parquet(tmp_path / "d.parquet", **columns))


def test_row_formats_without_a_needed_column_are_an_error(tmp_path):
    with pytest.raises(CorpusError, match="no column doc_id or id"):
        read(write_lines(tmp_path / "a.jsonl", {"foo": 1}))
    with pytest.raises(CorpusError, match="no column text"):
        read(write_lines(tmp_path / "b.jsonl", {"id": 1, "body": "a"}))
    with pytest.raises(CorpusError, match="no column year"):
        read(write_lines(tmp_path / "c.jsonl", {"id": 1, "text": "a"}), columns=("year",))


def test_an_empty_corpus_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match="no files"):
        read(tmp_path)
    (tmp_path / "d.jsonl").touch()
    (tmp_path / "d.csv").write_text("id,text\n")
    write_parquet(tmp_path / "d.parquet", id=pa.array([], pa.string()), text=pa.array([], pa.string()))
    with pytest.raises(CorpusError, match="no documents"):
        read(tmp_path)
    with pytest.raises(CorpusError, match="empty"):
        list_documents(Store(), SourceSettings())
    with pytest.raises(StoreError, match="nothing is stored"):
        read(tmp_path / "absent")


def test_a_file_of_garbage_is_all_rejects(tmp_path):
    documents, rejects = read(write_lines(tmp_path / "d.jsonl", b"\xff", b"no"), columns=("n",))
    assert documents == []
    assert [reason for _, reason in rejects] == ["not_utf8", "not_json"]


def test_splits_are_selected():
    table = pa.table({"split": ["train", None, "test"], "n": [1, 2, 3]})
    assert select_splits(table, ("test", "val"))["n"].to_pylist() == [3]
    assert select_splits(table, (" Test",))["n"].to_pylist() == [3]
    assert select_splits(table, ()) is table
    assert select_splits(pa.table({"split": ["val", "dev"]}), ("validation",))["split"].to_pylist() == ["val"]


LINE = st.one_of(
    st.binary(max_size=5).filter(lambda line: b"\n" not in line and b"\r" not in line),
    st.fixed_dictionaries(
        {"id": st.one_of(st.none(), st.text(max_size=3), st.integers(), st.floats(allow_nan=False))},
        optional={
            "text": st.one_of(st.none(), st.text(max_size=5), st.integers()),
            "labels": st.one_of(
                st.none(), st.text(max_size=3), st.lists(st.one_of(st.text(max_size=2), st.integers()))
            ),
            "n": st.one_of(st.none(), st.integers(), st.text(max_size=2)),
        },
    ),
)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(LINE, max_size=12), rows=st.integers(1, 6))
def test_any_chunk_size_gives_the_same_rows(tmp_path, lines, rows):
    first = {"id": "first", "text": "a", "n": 1}
    path = write_lines(tmp_path / "d.jsonl", first, *lines)
    (documents, rejects), (expected, rejected) = (read(path, size, columns=("n",)) for size in (rows, 2048))
    assert documents == expected
    assert sorted(rejects) == sorted(rejected)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(n=st.integers(1, 40), group=st.integers(1, 15), rows=st.integers(1, 20))
def test_any_chunk_size_gives_the_same_parquet_rows(tmp_path, n, group, rows):
    table = pa.table({"id": list(range(n)), "text": ["" if row % 5 == 0 else "a" for row in range(n)]})
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=group)
    assert read(tmp_path / "d.parquet", rows) == read(tmp_path / "d.parquet", 2048)
