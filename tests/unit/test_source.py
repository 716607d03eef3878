"""What of a person's files is read as what: columns, splits, ids, label files, and how much may be unreadable."""

import gzip
import json
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytagger.corpus import LabelSet, list_documents, read_documents, read_labels, read_source_labels
from raytagger.corpus.report import CorpusReport
from raytagger.errors import CorpusError, RejectsError, SettingsError
from raytagger.evaluate.documents import find_split
from raytagger.settings import SourceSettings
from raytagger.store import Store

CAFE = "caf\u00e9"
CAFE_NFD = "cafe\u0301"


def chunks(path, **source: object):
    return list(read_documents(Store(), SourceSettings(documents=str(path), **source)))


def read(path, **source: object):
    tables = [chunk.documents for chunk in chunks(path, **source)]
    return pa.concat_tables(tables, promote_options="default").to_pylist()


def report(path, labels=None, **source: object):
    found = CorpusReport(labels)
    for chunk in chunks(path, **source):
        found.add(chunk)
    return found


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_json(path, *rows: object):
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path, **columns: object):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


MAP = {"id": "key", "text": "body", "labels": "tags", "split": "part", "title": "head"}
ROW = {"key": 7, "body": "b", "tags": ["x"], "part": "Train", "head": "h", "id": "other", "text": "other"}
EXPECTED = {"doc_id": "7", "text": "h. b", "labels": ["x"], "split": "train"}


def test_every_format_takes_its_columns_by_the_map(tmp_path):
    lines = "key,body,tags,part,head,id,text\n7,b,x,Train,h,other,other\n"
    files = [
        write_json(tmp_path / "d.jsonl", ROW),
        write_json(tmp_path / "d.json", ROW),
        write(tmp_path / "d.csv", lines),
        write(tmp_path / "d.tsv", lines.replace(",", "\t")),
        write_parquet(tmp_path / "d.parquet", **{name: [value] for name, value in ROW.items()}),
    ]
    for file in files:
        assert read(file, map=MAP) == [EXPECTED], file.name
    assert read(files[0], map=MAP, fields=("text",), columns=("head", "part", "title")) == [
        {**EXPECTED, "text": "b", "head": "h", "part": "Train", "title": "h"}
    ]


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        ({"txet": "body"}, "no role txet.*Did you mean text"),
        ({"text": ""}, "source.map.text names no column"),
        ({"text": "b*"}, "source.map.text names no column"),
        ({"id": "body", "text": "body"}, r"two roles; got \['body'\]"),
        ({"labels": "text"}, r"two roles; got \['text'\]"),
    ],
)
def test_an_impossible_map_is_refused(tmp_path, map_, message):
    with pytest.raises(SettingsError, match=message):
        read(write_json(tmp_path / "d.jsonl", ROW), map=map_)


@pytest.mark.parametrize("role", ["id", "text", "title", "labels", "split"])
def test_a_mapped_column_that_no_file_has_is_an_error(tmp_path, role):
    path = write_json(tmp_path / "d.jsonl", {"id": "1", "text": "a", "labels": ["x"], "split": "test"})
    with pytest.raises(CorpusError, match=r"column absent.*source\.map"):
        read(path, map={role: "absent"})


def test_a_mapped_column_may_begin_further_down_and_in_another_file(tmp_path):
    write_json(tmp_path / "a.jsonl", *({"id": str(row), "text": "a"} for row in range(120)), {**ROW, "id": "x"})
    write_json(tmp_path / "b.jsonl", {"id": "y", "text": "a"})
    found = read(tmp_path, map={"labels": "tags"})
    assert [row["labels"] for row in found if row["labels"]] == [["x"]]


@pytest.mark.parametrize("make", [write_parquet, None])
def test_one_label_a_document_as_a_string_or_a_number(tmp_path, make):
    values = {"id": ["1", "2", "3", "4"], "text": ["a"] * 4, "label": ["sports", " a;b ", None, "['x', 'y']"]}
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    path = make(tmp_path / "d.parquet", **values) if make else write_json(tmp_path / "d.jsonl", *rows)
    labels = [row["labels"] for row in read(path, map={"labels": "label"})]
    assert labels == [["sports"], ["a;b"], None, ["x", "y"]]
    numbers = write_parquet(tmp_path / "n.parquet", id=["1", "2"], text=["a", "b"], label=[5, None])
    assert [row["labels"] for row in read(numbers, map={"labels": "label"})] == [["5"], None]


def test_columns_of_marks_are_labels_by_their_prefix(tmp_path):
    marks = {"tag_a": [1, 0, 0, None], "tag_b": [True, False, True, None], "tag_c": [0.0, 0.0, 1.0, None]}
    plain = {"id": ["1", "2", "3", "4"], "text": ["t"] * 4, "tag_count": ["2", "0", "2", None]}
    path = write_parquet(tmp_path / "d.parquet", **plain, **marks)
    source = {"map": {"labels": "tag_*"}, "columns": ("tag_count",)}
    expected = [["a", "b"], [], ["b", "c"], None]
    assert [row["labels"] for row in read(path, **source)] == expected
    rows = [
        dict(zip([*plain, *marks], row, strict=True)) for row in zip(*plain.values(), *marks.values(), strict=True)
    ]
    assert [row["labels"] for row in read(write_json(tmp_path / "d.jsonl", *rows), **source)] == expected
    text = "id,text,tag_count,tag_a,tag_b,tag_c\n1,t,2,1,true,0.0\n2,t,0,0,False,0\n3,t,2,0,1,1.0\n4,t,,,,\n"
    assert [row["labels"] for row in read(write(tmp_path / "d.csv", text), **source)] == expected


def test_a_mark_that_is_neither_0_nor_1_is_rejected(tmp_path):
    source = {"map": {"labels": "t_*"}, "max_reject_share": 1.0}
    files = [
        write_parquet(tmp_path / "d.parquet", id=["1", "2"], text=["a", "b"], t_a=[2, 1], t_b=["x", "1"]),
        write(tmp_path / "d.csv", "id,text,t_a,t_b\n1,a,2,0\n2,b,1,1\n"),
    ]
    for file in files:
        (chunk,) = chunks(file, **source)
        assert chunk.documents["labels"].to_pylist() == [["a", "b"]]
        assert chunk.rejects.select(["doc_id", "reason"]).to_pylist() == [{"doc_id": "1", "reason": "wrong_type"}]


def test_columns_that_look_like_labels_are_named_in_a_hint(tmp_path):
    plain = {"id": ["1", "2"], "text": ["a", "b"], "year": [1999, 1]}
    found = report(write_parquet(tmp_path / "d.parquet", **plain, Tags=["x", "y"], is_a=[0, 1], is_b=[1, 1]))
    assert found.hint == (
        "no column labels; columns that look like labels: Tags, is_* (name one by source.map.labels)"
    )
    assert found.hint in found.lines()
    assert found.hint == found.as_dict()["hint"]
    text = "id,text,category,x,y\n1,a,c,0,1\n2,b,d,1,1\n"
    assert "category, x, y (of 0 and 1)" in report(write(tmp_path / "d.csv", text)).hint
    assert "keywords" in report(write_json(tmp_path / "d.jsonl", {"id": "1", "text": "a", "keywords": ["x"]})).hint
    parts = ("my_topics_list", "subject_uris", "primaryCategory", "TAG_IDS")
    likely = dict.fromkeys(("stage", "percentage", "classical", *parts), "x")
    hint = report(write_json(tmp_path / "p.jsonl", {"id": "1", "text": "a", **likely})).hint
    assert f"look like labels: {', '.join(parts)} (" in hint
    for labelled in ({"id": "1", "text": "a", "labels": ["x"], "tags": []}, {"id": "1", "text": "a"}):
        assert report(write_json(tmp_path / "e.jsonl", labelled)).hint == ""
    for named in ("keywords", ""):
        assert report(tmp_path / "d.jsonl", map={"labels": named}).hint == ""


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("Train", "train"), (" TEST ", "test"), ("", None), ("  ", None), ("validation", "val"), ("dev", "val")],
)
def test_names_of_splits_are_made_uniform(tmp_path, cell, expected):
    files = [
        write(tmp_path / "d.csv", f"id,text,split\n1,a,{cell}\n"),
        write_json(tmp_path / "d.jsonl", {"id": "1", "text": "a", "split": cell}),
        write_parquet(tmp_path / "d.parquet", id=["1"], text=["a"], split=[cell]),
    ]
    assert [read(file)[0]["split"] for file in files] == [expected] * 3


def test_the_runs_own_names_of_splits_stand(tmp_path):
    rows = [
        {"id": str(row), "text": "a", "split": name} for row, name in enumerate(["DEV", "Validation", "part A"])
    ]
    path = write_json(tmp_path / "d.jsonl", *rows)
    found = read(path, validation_split="dev", train_split="Part A")
    assert [row["split"] for row in found] == ["dev", "validation", "Part A"]


def test_a_split_is_asked_for_as_files_spell_it():
    names = {"test": 3, "val": 1}
    assert [find_split(names, asked) for asked in ("Test", "validation", "")] == ["test", "val", "test"]
    with pytest.raises(CorpusError, match=r"'dev-2'; expected test \(3\), val \(1\)"):
        find_split(names, "dev-2")


def test_blanks_around_ids_are_cut_on_both_sides(tmp_path):
    path = write(tmp_path / "d.csv", "id,text,labels\n 1 ,a,x ; y\n")
    write(tmp_path / "labels.csv", "id,title,parents\nx ,X,\n y,Y, x ; \n")
    labels = read_labels(Store(), str(tmp_path / "labels.csv"))
    assert (labels.ids, labels.parents) == (("x", "y"), ((), ("x",)))
    parquet = write_parquet(tmp_path / "d.parquet", id=[" 1\t"], text=["a"], labels=[["x ", "", " y", None]])
    for file in (path, parquet):
        assert read(file) == [{"doc_id": "1", "text": "a", "labels": ["x", "y"], "split": None}]
    (chunk,) = chunks(write(tmp_path / "e.csv", "id,text\n ,a\n"), max_reject_share=1.0)
    assert chunk.rejects["reason"].to_pylist() == ["no_id"]


def test_forms_of_one_letter_are_one_id_and_one_text(tmp_path):
    row = {"id": CAFE_NFD, "text": CAFE_NFD, "labels": [CAFE_NFD, "\ufb01sh"]}
    path = write_json(tmp_path / "d.jsonl", row, {"id": "2", "text": "a"})
    label = {"id": CAFE_NFD, "title": CAFE_NFD, "parents": [CAFE_NFD]}
    write_json(tmp_path / "labels.jsonl", label)
    for form, expected in (("nfc", CAFE), ("nfkc", CAFE), ("none", CAFE_NFD)):
        source = SourceSettings(documents=str(path), labels=str(tmp_path / "labels.jsonl"), normalise=form)
        labels = read_source_labels(Store(), source)
        assert (labels.ids, labels.titles, labels.parents) == ((expected,), (expected,), ((expected,),))
        fish = "fish" if form == "nfkc" else "\ufb01sh"
        (chunk,) = read_documents(Store(), source)
        first = {"doc_id": expected, "text": expected, "labels": [expected, fish], "split": None}
        assert chunk.documents.to_pylist()[0] == first
    with pytest.raises(SettingsError, match="nfd"):
        read(path, normalise="nfd")
    with pytest.raises(CorpusError, match="occur twice"):
        read_labels(Store(), str(write_json(tmp_path / "twice.jsonl", label, {"id": CAFE, "title": "a"})))


def test_an_unknown_label_names_the_known_one_that_it_looks_like(tmp_path):
    path = write_json(tmp_path / "d.jsonl", {"id": "1", "text": "a", "labels": [CAFE_NFD, "SPORT", "new"]})
    found = report(path, LabelSet((CAFE, "sport"), ("a", "b"), ("", "")), normalise="none")
    assert found.findings["unknown_labels"].examples == [
        r"'cafe\u0301', where the label set has 'caf\xe9'",
        "'SPORT', where the label set has 'sport'",
        "new",
    ]


def test_a_cell_with_labels_joined_by_commas_names_the_separator(tmp_path):
    path = write(
        tmp_path / "d.csv", 'id,text,labels\n1,a,"space, cooking"\n2,b,"new, cooking"\n3,c,space;cooking\n'
    )
    labels = LabelSet(("space", "cooking"), ("a", "b"), ("", ""))
    joined, other = report(path, labels).findings["unknown_labels"].examples
    assert joined.startswith("'space, cooking' as one label, where the label set has each part")
    assert "by ; or | in CSV" in joined
    assert other == "'new, cooking'"


@pytest.mark.parametrize(
    ("written", "known"), [("1.0", "1"), ("12", "12.0"), ("007", "7"), ("0", "00"), ("1.5", None), ("1", None)]
)
def test_an_unknown_number_names_the_known_one_that_it_equals(tmp_path, written, known):
    path = write_json(tmp_path / "d.jsonl", {"id": "1", "text": "a", "labels": [written]})
    found = report(path, LabelSet((known or "x",), ("a",), ("",))).findings["unknown_labels"].examples
    assert found == [written if known is None else f"'{written}', where the label set has '{known}'"]


def test_folders_name_columns_and_files_name_splits(tmp_path):
    write_parquet(tmp_path / "a/split=Train/lang=de%20CH/part-0.parquet", id=["1"], text=["a"])
    write_json(tmp_path / "a/split=__HIVE_DEFAULT_PARTITION__/x.jsonl", {"id": "2", "text": "a", "lang": "own"})
    assert read(tmp_path / "a", columns=("lang",)) == [
        {"doc_id": "1", "text": "a", "labels": None, "split": "train", "lang": "de CH"},
        {"doc_id": "2", "text": "a", "labels": None, "split": None, "lang": "own"},
    ]
    for name in (
        "train-00000-of-00002",
        "train-00001-of-00002",
        "test-00000-of-00001",
        "validation-00000-of-00001",
    ):
        write_parquet(tmp_path / f"b/data/{name}.parquet", id=[name], text=["a"])
    write(tmp_path / "b/data/training-notes.csv", "id,text\n5,a\n")
    write_parquet(tmp_path / "b/data/test.parquet", id=["6"], text=["a"], split=["own"])
    found = {row["doc_id"][:5]: row["split"] for row in read(tmp_path / "b")}
    assert found == {"train": "train", "test-": "test", "valid": "val", "5": None, "6": "own"}


def test_folders_above_the_documents_tell_nothing_of_them(tmp_path):
    corpus = tmp_path / "split=old/lang=de/corpus"
    write_parquet(corpus / "split=test/part-0.parquet", id=["1"], text=["a"])
    for documents, split in (
        (corpus, "test"),
        (f"{corpus}/", "test"),
        (corpus / "*/part-*.parquet", "test"),
        (corpus / "split=test", None),
        (corpus / "split=test/*.parquet", None),
        (corpus / "split=test/part-0.parquet", None),
    ):
        assert [row["split"] for row in read(documents)] == [split], documents
    with pytest.raises(CorpusError, match="no column lang"):
        read(corpus, columns=("lang",))


def test_a_folder_gives_no_ids(tmp_path):
    with pytest.raises(CorpusError, match="no column doc_id or id"):
        read(write_json(tmp_path / "id=5/d.jsonl", {"text": "a"}))


def test_a_label_file_in_the_documents_folder_is_no_document(tmp_path):
    write_json(tmp_path / "docs.jsonl", {"id": "1", "text": "a"})
    write_json(tmp_path / "terms.jsonl", {"id": "x", "title": "X", "text": "x"})
    write(tmp_path / "SOURCE.json", json.dumps({"made": "here"}, indent=1))
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "terms.jsonl")
    source = SourceSettings(documents=str(tmp_path), labels=str(tmp_path / "link.jsonl"))
    assert [entry.uri.rsplit("/", 1)[-1] for entry in list_documents(Store(), source)] == ["docs.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "is_label_file"),
    [
        ("labels.jsonl", {"id": "x", "title": "X", "text": "x"}, True),
        ("labels-june.jsonl", {"label_id": "x", "text": "x"}, True),
        ("Label.json", {"uid": "x", "title": "X"}, True),
        ("labels.jsonl", {"doc_id": "x", "text": "x"}, False),
        ("labels.jsonl", {"id": "x", "text": "x", "labels": []}, False),
        ("labelled.jsonl", {"id": "x", "text": "x"}, False),
    ],
)
def test_a_file_named_as_labels_is_known_by_its_columns(tmp_path, name, content, is_label_file):
    write_json(tmp_path / "docs.jsonl", {"doc_id": "1", "text": "a"})
    write_json(tmp_path / name, content)
    names = {entry.uri.rsplit("/", 1)[-1] for entry in list_documents(Store(), SourceSettings(str(tmp_path)))}
    assert names == {"docs.jsonl"} if is_label_file else names == {"docs.jsonl", name}
    assert len(list_documents(Store(), SourceSettings(str(tmp_path / name)))) == 1


def test_a_label_file_of_another_name_among_documents_is_an_error(tmp_path):
    write_json(tmp_path / "docs.jsonl", {"id": "1", "text": "a"})
    write_json(tmp_path / "terms.jsonl", {"label_id": "x", "text": "x"})
    with pytest.raises(CorpusError, match=r"terms\.jsonl is a label file among the documents.*source\.labels"):
        read(tmp_path)
    write_json(tmp_path / "only/labels.jsonl", {"label_id": "x", "text": "x"})
    write_json(tmp_path / "only/labels-2.jsonl", {"label_id": "x", "text": "x"})
    with pytest.raises(CorpusError, match="no files but label files"):
        read(tmp_path / "only")


DOCUMENT = {"doc_id": "1", "text": "a", "labels": ["x"]}


@pytest.mark.parametrize(
    ("name", "document", "other", "is_refused"),
    [
        ("tags.jsonl", DOCUMENT, {"id": "x", "title": "X", "text": "x"}, True),
        ("tags.jsonl", {"id": "1", "text": "a", "split": "test"}, {"id": "x", "title": "X", "text": "x"}, True),
        ("tags.jsonl", {"id": "1", "text": "a", "url": "u"}, {"id": "x", "title": "X", "text": "x"}, True),
        ("tags.jsonl", DOCUMENT, {"id": "x", "text": "x"}, True),
        ("tags.jsonl", {"id": "1", "text": "a", "labels": ["x"]}, {"id": "x", "text": "x"}, True),
        ("more.jsonl", {"id": "1", "text": "a", "labels": ["x"]}, {"id": "2", "text": "x", "by": "b"}, False),
        ("more.jsonl", {"id": "1", "text": "a", "labels": ["x"]}, {"id": "2", "text": "x", "labels": None}, False),
        ("more.jsonl", {"id": "1", "text": "a"}, {"id": "x", "text": "x"}, False),  # nothing tells them apart
        ("more.jsonl", DOCUMENT, {"doc_id": "2", "text": "x"}, False),
        ("more.jsonl", {**DOCUMENT, "url": "u"}, {"id": "2", "text": "x", "url": "v"}, False),
        ("more.jsonl", {"id": "1", "text": "a", "url": "u"}, {"id": "2", "text": "x"}, False),
        ("test.jsonl", DOCUMENT, {"id": "2", "title": "X", "text": "x"}, False),
    ],
)
def test_a_file_with_the_columns_of_labels_among_documents_of_others_is_refused(
    tmp_path, name, document, other, is_refused
):
    for part in range(3):
        write_json(tmp_path / f"docs-{part}.jsonl", document)
    write_json(tmp_path / name, other)
    source = SourceSettings(str(tmp_path))
    if not is_refused:
        assert len(list_documents(Store(), source)) == 4
        return
    with pytest.raises(CorpusError, match=r"tags\.jsonl looks like a label file.*source\.labels.*doc_id"):
        list_documents(Store(), source)
    named = SourceSettings(str(tmp_path), labels=str(tmp_path / name))
    assert len(list_documents(Store(), named)) == 3


def test_a_guess_drops_no_column(tmp_path):
    plain = {"uid": "1", "title": "t", "content": "c"}
    own = {**plain, "labels": ["x"], "split": "test"}
    source = {"fields": ("title", "content")}
    expected = {"doc_id": "1", "text": "t. c", "labels": ["x"], "split": "test"}
    assert read(write_json(tmp_path / "d.json", own), **source) == [expected]
    assert read(write_json(tmp_path / "trn.json", own), **source) == [expected]
    assert read(write_json(tmp_path / "e.json", plain), **source)[0]["text"] == "t. c"
    for name, row in (("e.json", plain), ("f.json", {**own, "target_ind": [1]})):
        with pytest.raises(CorpusError, match=r"source\.format = xmc-json; or source\.format = jsonl"):
            read(write_json(tmp_path / name, row))
    assert read(tmp_path / "e.json", format="xmc-json")[0]["text"] == "t. c"
    assert read(tmp_path / "f.json", format="xmc-json")[0] == {**expected, "labels": ["1"]}
    assert read(tmp_path / "d.json", format="xmc-json")[0] == expected
    with pytest.raises(CorpusError, match=r"source\.label_format = xmc-json"):
        read_labels(Store(), str(tmp_path / "e.json"))
    assert read_labels(Store(), str(tmp_path / "e.json"), "xmc-json").ids == ("0",)


def test_pairs_that_must_not_count_are_left_out(tmp_path):
    rows = [{"uid": str(row), "title": "t", "content": "c", "target_ind": [0, 1, 2]} for row in range(3)]
    for name in ("trn.json", "tst.json"):
        write_json(tmp_path / name, *({**row, "uid": f"{name}-{row['uid']}"} for row in rows))
    write_json(tmp_path / "lbl.json", {"title": "0"}, {"title": "1"}, {"title": "2"})
    write(tmp_path / "filter_labels_test.txt", "0 1\n2 0\n2 2\n2 7\n")
    found = {row["doc_id"]: row["labels"] for row in read(tmp_path)}
    assert found["tst.json-0"] == ["0", "2"]
    assert found["tst.json-1"] == ["0", "1", "2"]
    assert found["tst.json-2"] == ["1"]
    assert found["trn.json-0"] == ["0", "1", "2"]
    assert {row["doc_id"]: row["labels"] for row in read(tmp_path / "tst.json")}["tst.json-2"] == ["1"]
    assert "gold labels left out by filter_labels: 3" in report(tmp_path).lines()
    write(tmp_path / "filter_labels_test.txt.gz", gzip.compress((tmp_path / "filter_labels_test.txt").read_bytes()))
    (tmp_path / "filter_labels_test.txt").unlink()
    assert "gold labels left out by filter_labels: 3" in report(tmp_path).lines()
    write(tmp_path / "filter_labels_test.txt", "0 one\n")
    with pytest.raises(CorpusError, match=r"filter_labels_test\.txt: line 1 is not a pair"):
        read(tmp_path)


@pytest.mark.parametrize("list_kind", [pa.list_, pa.large_list])
def test_lists_of_dictionaries_are_read(tmp_path, list_kind):
    offsets = pa.array([0, 2, 3], pa.int32() if list_kind is pa.list_ else pa.int64())
    values = pa.array(["x", "y", "x"]).dictionary_encode()
    make = pa.ListArray if list_kind is pa.list_ else pa.LargeListArray
    path = write_parquet(
        tmp_path / "d.parquet", id=["1", "2"], text=["a", "b"], labels=make.from_arrays(offsets, values)
    )
    assert [row["labels"] for row in read(path)] == [["x", "y"], ["x"]]


@pytest.mark.parametrize("kind", [pa.list_view(pa.string()), pa.large_list_view(pa.int64())])
def test_list_views_are_read(tmp_path, kind):
    labels = pa.array([["1", "2"], None, ["3"]]).cast(pa.list_(kind.value_type)).to_pylist()
    path = write_parquet(tmp_path / "d.parquet", id=["1", "2", "3"], text=["a"] * 3, labels=pa.array(labels, kind))
    assert [row["labels"] for row in read(path)] == [["1", "2"], None, ["3"]]


BAD = {
    "wrong_type.jsonl": (json.dumps({"id": "1", "text": 5}) + "\n") * 3,
    "cp1252.csv": "id,text\n1,caf\u00e9\n2,plain\n".encode("cp1252"),
    "pretty.json": json.dumps({"id": "1", "text": "a"}, indent=2),
    "sparse.txt": "2 5 4\n1 1:1\n2 1:1\n",
    "short.csv": "id,text\n1\n2\n3,a\n",
    "lists.jsonl": json.dumps({"id": "1", "text": "a", "labels": "['x']"}) + "\n",
}


@pytest.mark.parametrize("name", BAD)
def test_too_many_rejects_end_every_pass(tmp_path, name):
    path = write(tmp_path / name, BAD[name])
    with pytest.raises(RejectsError, match=r"of .* (was|were) rejected; got .*such as .*max_reject_share\)\. \w+"):
        read(path)
    assert chunks(path, max_reject_share=1.0)


def test_a_share_below_the_limit_is_reported_only(tmp_path):
    rows = [{"id": str(row), "text": "a" if row else ""} for row in range(100)]
    assert len(read(write_json(tmp_path / "d.jsonl", *rows))) == 99


def test_a_large_file_without_any_document_is_given_up_early(tmp_path):
    path = write(tmp_path / "d.jsonl", "no\n" * 50_000)
    passing = read_documents(Store(), SourceSettings(documents=str(path)))
    taken = [len(chunk.rejects) for chunk in islice(passing, 4)]
    with pytest.raises(RejectsError, match=r"10,240 of 10,240 .* such as d\.jsonl:1: "):
        next(passing)
    assert taken == [2048] * 4
    assert len(chunks(path, max_reject_share=1.0)) == 25
