"""Documents from other tools' exports: every row is a document or a reject."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from raytagger.corpus import read_labels
from raytagger.corpus.documents import list_documents, read_documents
from raytagger.errors import CorpusError
from raytagger.settings import SourceSettings
from raytagger.store import Store


def read(path, rows=2048, **source: object):
    """Documents as rows, and rejects as id to reason."""
    asked = SourceSettings(documents=str(path), max_reject_share=1.0, **source)
    chunks = list(read_documents(Store(), asked, rows))
    documents = pa.concat_tables([chunk.documents for chunk in chunks], promote_options="default")
    rejects = pa.concat_tables([chunk.rejects for chunk in chunks])
    return documents.to_pylist(), {row["doc_id"]: row["reason"] for row in rejects.to_pylist()}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def labels_of(documents):
    return {row["doc_id"]: row["labels"] for row in documents}


# Annif


ANNIF = (
    b'\xef\xbb\xbfRFC 791: "Internet" Protocol\t<http://e/1> <http://e/3>\n\nGo To \xf0\x9f\x9b\xb0\t<http://e/2>\t'
    b"<http://e/1>\nno tab\n\xff\t<http://e/1>\nno subjects\t\n\t<http://e/1>\n"
)


@pytest.mark.parametrize("name", ["short.tsv", "short.tsv.gz"])
def test_annifs_short_texts_have_no_header_and_no_ids(tmp_path, name):
    content = gzip.compress(ANNIF) if name.endswith(".gz") else ANNIF
    documents, rejects = read(write(tmp_path / name, content), rows=2, format="annif-tsv")
    assert [row["text"] for row in documents] == ['RFC 791: "Internet" Protocol', "Go To 🛰", "no subjects"]
    assert labels_of(documents) == {
        "short-1": ["http://e/1", "http://e/3"],
        "short-3": ["http://e/2", "http://e/1"],
        "short-6": [],
    }
    assert rejects == {f"{name}:4": "wrong_width", f"{name}:5": "not_utf8", "short-7": "empty_text"}


def test_annifs_short_texts_with_named_columns(tmp_path):
    content = 'document_id,text,subject_uris,title\nRFC791,"a, ""b"" 🛰",<http://e/1> <http://e/2>,T\nx,y\n,c,,\n'
    documents, rejects = read(write(tmp_path / "d.csv", content), format="annif-csv", columns=("title",))
    assert documents[0] == {
        "doc_id": "RFC791",
        "text": 'a, "b" 🛰',
        "labels": ["http://e/1", "http://e/2"],
        "split": None,
        "title": "T",
    }
    assert rejects == {"d.csv:3": "wrong_width", "d.csv:4": "no_id"}
    path = write(tmp_path / "e.csv", "text,subject_uris\none,<http://e/1>\n")
    assert labels_of(read(path, format="annif-csv")[0]) == {"e-2": ["http://e/1"]}
    rows = [{"text": "a", "subjects": [{"uri": "http://e/1"}, {"label": "code"}]}, {"document_id": 7, "text": "b"}]
    path = write(tmp_path / "f.jsonl.gz", gzip.compress("\n".join([*map(json.dumps, rows), "{"]).encode()))
    documents, rejects = read(path, format="annif-jsonl")
    assert labels_of(documents) == {"f-1": ["http://e/1", "code"], "7": None}
    assert rejects == {"f.jsonl.gz:3": "not_json"}


def test_annifs_full_texts_have_their_subjects_beside(tmp_path):
    write(tmp_path / "a.txt", "\ufeffFull\ntext")
    write(tmp_path / "a.tsv", "<http://e/1>\tnetworking\textra\n<http://e/2>\tcode\n")
    write(tmp_path / "b.txt", "Another")
    write(tmp_path / "b.key", "networking\r\ncomputer science\n\n")
    write(tmp_path / "c.txt", "Alone")
    write(tmp_path / "d.key", "networking\n")
    write(tmp_path / "e.txt", b"\xff")
    data = {
        "document_id": "memex",
        "text": "As we",
        "metadata": {"title": "Think"},
        "subjects": [{"uri": "http://e/1"}],
    }
    write(tmp_path / "f.json", json.dumps(data, indent=1))
    write(tmp_path / "g.json", "{")
    documents, rejects = read(tmp_path, format="annif-fulltext")
    assert [row["text"] for row in documents] == ["Full\ntext", "Another", "Alone", "As we"]
    assert labels_of(documents) == {
        "a": ["http://e/1", "http://e/2"],
        "b": ["networking", "computer science"],
        "c": None,
        "memex": ["http://e/1"],
    }
    assert rejects == {"d.key:1": "empty_text", "e.txt:1": "not_utf8", "g.json:1": "not_json"}


# Stack Exchange


BODY = "&lt;p&gt;An &lt;b&gt;oven&lt;/b&gt;:&lt;/p&gt;&#xA;"
BODY += "&lt;pre&gt;&lt;code&gt;a &amp;lt; b&lt;/code&gt;&lt;/pre&gt;"
POSTS = """\ufeff<?xml version="1.0" encoding="utf-8"?>
<posts>
  <row Id="1" PostTypeId="1" Score="7" Title="&lt;Hot&gt; &amp; hot?" Body="BODY" Tags="&lt;oven&gt;&lt;c++&gt;" />
  <row Id="2" PostTypeId="2" ParentId="1" Body="&lt;p&gt;An answer&lt;/p&gt;" />
  <row Id="3" PostTypeId="1" Title="Crème brûlée 🍮" Body="" Tags="|sugar|eggs|" />
  <row Id="4" PostTypeId="1" Title="Broken" Body="a" b" />
  <row Id="5" PostTypeId="4" Body="&lt;p&gt;For questions about ovens.&lt;/p&gt;" />
  <row Id="6" PostTypeId="1" Title="" Body="&lt;p&gt; &lt;/p&gt;" Tags="|oven|" />
  <row Id="7" PostTypeId="1" Title="Entity &evil;" Body="" />
</posts>
""".replace("BODY", f"{BODY}&lt;script&gt;x&lt;/script&gt;")
TAGS = """<?xml version="1.0" encoding="utf-8"?>
<tags>
  <row Id="1" TagName="oven" Count="2" ExcerptPostId="5" WikiPostId="8" />
  <row Id="2" TagName="c++" Count="1" />
</tags>
"""


@pytest.mark.parametrize("rows", [2, 2048])
def test_questions_of_a_dump_are_documents(tmp_path, rows):
    path = write(tmp_path / "Posts.xml", POSTS)
    documents, rejects = read(path, rows=rows, columns=("Score",))
    assert labels_of(documents) == {"1": ["oven", "c++"], "3": ["sugar", "eggs"]}
    assert documents[0]["text"] == "<Hot> & hot?. An oven:\na < b"
    assert documents[1]["text"] == "Crème brûlée 🍮"
    assert [row["Score"] for row in documents] == ["7", None]
    assert rejects == {"Posts.xml:6": "malformed", "6": "empty_text", "Posts.xml:9": "malformed"}
    titles, _ = read(path, fields=("title",))
    assert titles[0]["text"] == "<Hot> & hot?"


def test_the_tags_of_a_dump_are_labels_with_their_excerpts(tmp_path):
    write(tmp_path / "Posts.xml.gz", gzip.compress(POSTS.encode()))
    labels = read_labels(Store(), str(write(tmp_path / "Tags.xml", TAGS)))
    assert labels.ids == ("oven", "c++")
    assert labels.texts == ("For questions about ovens.", "")


def test_the_other_tables_of_a_dump_are_no_documents(tmp_path):
    for name in ("Posts.xml", "Tags.xml", "Users.xml"):
        write(tmp_path / name, "")
    entries = list_documents(Store(), SourceSettings(documents=str(tmp_path)))
    assert [entry.uri.rsplit("/", 1)[-1] for entry in entries] == ["Posts.xml"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (POSTS.replace("</posts>\n", ""), "cut off"),
        (TAGS, "holds <tags>"),
        ('<posts><row Id="1" PostTypeId="1" Title="a" Body="b" /></posts>', "no dump"),
        ("<users>\n</users>\n", "no dump"),
        ('<?xml version="1.0"?>\n<!DOCTYPE x [<!ENTITY a "b">]>\n<posts>\n</posts>\n', "document type"),
    ],
)
def test_what_is_no_whole_dump_is_an_error(tmp_path, content, what):
    with pytest.raises(CorpusError, match=what):
        read(write(tmp_path / "Posts.xml", content))


# Hugging Face, in exactly the form of `datasets` 5.2: features as JSON under the key `huggingface`


def dataset(names, listed=False, **columns):
    label = {"names": names, "_type": "ClassLabel"}
    features = {name: {"dtype": "string", "_type": "Value"} for name in columns}
    features["labels" if listed else "label"] = {"feature": label, "_type": "List"} if listed else label
    table = pa.table(columns)
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def save_to_disk(folder, table, shards=1):
    """As `Dataset.save_to_disk` does."""
    folder.mkdir(parents=True)
    size = -(-len(table) // shards)
    for shard in range(shards):
        with ipc.new_stream(folder / f"data-{shard:05}-of-{shards:05}.arrow", table.schema) as writer:
            writer.write_table(table.slice(shard * size, size), max_chunksize=2)
    (folder / "dataset_info.json").write_text('{"features": {}}')
    (folder / "state.json").write_text('{"_split": null}')


def test_a_dataset_on_disk(tmp_path):
    table = dataset(["World", "Sport ⚽"], text=["one", "two", "é3", "four"], label=pa.array([0, 1, -1, 7]))
    save_to_disk(tmp_path / "d" / "train", table, shards=2)
    save_to_disk(tmp_path / "d" / "validation", table.slice(0, 1))
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    documents, rejects = read(tmp_path / "d", rows=3)
    assert labels_of(documents) == {
        "train-00000-0": ["World"],
        "train-00000-1": ["Sport ⚽"],
        "train-00001-0": None,
        "validation-00000-0": ["World"],
    }
    assert [row["split"] for row in documents] == ["train", "train", "train", "val"]
    assert rejects == {"train-00001-1": "wrong_type"}
    labels = read_labels(Store(), str(tmp_path / "d" / "train" / "data-00000-of-00002.arrow"))
    assert labels.ids == ("World", "Sport ⚽")


def test_a_dataset_without_splits_has_none(tmp_path):
    save_to_disk(tmp_path / "d", dataset(["a"], id=["x"], text=["one"], label=[0]))
    documents, _ = read(tmp_path / "d")
    assert documents == [{"doc_id": "x", "text": "one", "labels": ["a"], "split": None}]


def test_parquet_of_the_hub_names_its_classes(tmp_path):
    table = dataset(["a", "b"], listed=True, text=["1", "2", "3"], labels=pa.array([[0, 1], [], [2]]))
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    path.parent.mkdir()
    pq.write_table(table, path)
    documents, rejects = read(path.parent)
    assert labels_of(documents) == {"train-00000-of-00001-0": ["a", "b"], "train-00000-of-00001-1": []}
    assert {row["split"] for row in documents} == {"train"}
    assert rejects == {"train-00000-of-00001-2": "wrong_type"}


def test_several_columns_of_classes_must_be_told_apart(tmp_path):
    label = {"names": ["a", "b"], "_type": "ClassLabel"}
    features = {"topic": label, "mood": [label]}
    table = pa.table({"text": ["1"], "topic": [1], "mood": [[0]]})
    path = tmp_path / "x.parquet"
    pq.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path
    )
    with pytest.raises(CorpusError, match=r"source\.map"):
        read(path)
    assert labels_of(read(path, map={"labels": "topic"})[0]) == {"x-0": ["b"]}
    assert labels_of(read(path, map={"labels": "mood"})[0]) == {"x-0": ["a"]}


def test_a_cut_arrow_file_is_an_error(tmp_path):
    save_to_disk(tmp_path / "d", dataset(["a"], text=["one"] * 50, label=[0] * 50))
    path = tmp_path / "d" / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(CorpusError, match="cannot be read"):
        read(path)


# Label Studio


def task(number, *results, **more):
    annotations = [{"id": number, "result": list(result), "was_cancelled": False} for result in results]
    return {"id": number, "data": {"text": f"text {number}"}, "annotations": annotations, "predictions": [], **more}


def choice(*names, control="topic", kind="choices"):
    return {"value": {kind: list(names)}, "from_name": control, "to_name": "text", "type": kind, "origin": "manual"}


LABEL_STUDIO = [
    task(1, [choice("a", "b")], [choice("b", "ç 🛰")]),
    task(2, [choice("a")], [choice("wrong")], data={"text": 'x ] } , " [', "title": "T"}),
    task(3),
    task(4, []),
    task(
        5,
        [
            choice(["x", "y"], kind="taxonomy"),
            {"value": {"start": 0, "end": 1, "labels": ["PER"]}, "from_name": "ner"},
        ],
    ),
    task(6, data={"text": 7}),
    task(7, data={"image": "s3://x"}),
]
LABEL_STUDIO[1]["annotations"][0]["ground_truth"] = True
LABEL_STUDIO[0]["annotations"].append({"was_cancelled": True, "result": [choice("cancelled")]})


@pytest.mark.parametrize("indent", [None, 2])
def test_label_studio(tmp_path, indent):
    content = json.dumps(LABEL_STUDIO, indent=indent, ensure_ascii=indent is None)
    documents, rejects = read(write(tmp_path / "export.json", content), rows=3, format="label-studio")
    assert labels_of(documents) == {
        "1": ["a", "b", "ç 🛰"],
        "2": ["a"],
        "3": None,
        "4": [],
        "5": ["x/y", "PER"],
    }
    assert documents[1]["text"] == 'x ] } , " ['
    assert rejects == {"6": "wrong_type", "7": "empty_text"}
    chosen, _ = read(tmp_path / "export.json", format="label-studio", map={"labels": "ner"})
    assert labels_of(chosen)["5"] == ["PER"]


def test_label_studios_minimal_export(tmp_path):
    added = {"annotator": 1, "annotation_id": 5, "created_at": "2026", "updated_at": "2026", "lead_time": 1.5}
    rows = [
        {"text": "one", "url": "u", "id": 1, "topic": {"choices": ["a", "b"]}, **added},
        {"text": "two", "url": "u", "id": 2, "topic": "ç", **added},
        {"text": "three", "url": "u", "id": 3, **added},
    ]
    path = write(tmp_path / "min.json", json.dumps(rows))
    documents, rejects = read(path, format="label-studio")
    assert labels_of(documents) == {"1": ["a", "b"], "2": ["ç"], "3": None}
    assert rejects == {}
    rows[1] = {"text": "two", "id": 2, "topic": "ç", "mood": "good", **added}
    write(path, json.dumps(rows))
    with pytest.raises(CorpusError, match=r"source\.map"):
        read(path, format="label-studio")
    assert labels_of(read(path, format="label-studio", map={"labels": "mood"})[0])["2"] == ["good"]


@pytest.mark.parametrize(
    ("content", "what"), [('[{"id": 1, "data": {"text": "a"}}', "cut off"), ("[] []", "after the array")]
)
def test_an_array_that_is_not_whole_is_an_error(tmp_path, content, what):
    with pytest.raises(CorpusError, match=what):
        read(write(tmp_path / "export.json", content), format="label-studio")


def test_a_broken_item_of_an_array_is_one_bad_row(tmp_path):
    content = b'\xef\xbb\xbf [{"id": 1, "text": "a\\"]", "label": []}, {"id": 2 "text": "b"},\n '
    content += b'{"id": 3, "text": "\xff"}, 4, {"id": 5, "text": "e", "label": ["x"]}]\n\n'
    documents, rejects = read(write(tmp_path / "export.json", content), rows=2, format="doccano")
    assert labels_of(documents) == {"1": [], "5": ["x"]}
    assert rejects == {"export.json:2": "not_json", "export.json:3": "not_utf8", "export.json:4": "not_json"}


# doccano and Argilla


def test_doccano(tmp_path):
    rows = [
        {"id": 1, "text": "one", "label": ["b", "a"], "Comments": []},
        {"id": 2, "data": "two", "label": [[0, 2, "LOC"], [4, 6, "LOC"], [7, 9, "ÅÄÖ"]]},
        {"id": 3, "text": "three", "cats": ["flight"], "entities": [{"id": 9, "label": "CITY", "start_offset": 0}]},
        {"text": "four", "labels": []},
        {"id": 5, "text": "five"},
        {"id": 6, "text": "six", "label": [{"x": 1}]},
        {"id": 7, "text": None, "label": ["a"]},
    ]
    lines = "\n".join(map(json.dumps, rows)) + "\nnot json\n"
    documents, rejects = read(write(tmp_path / "all.jsonl", lines), format="doccano")
    assert labels_of(documents) == {
        "1": ["b", "a"],
        "2": ["LOC", "ÅÄÖ"],
        "3": ["flight", "CITY"],
        "all.jsonl-4": [],
        "5": None,
    }
    assert rejects == {"6": "wrong_type", "7": "empty_text", "all.jsonl:8": "not_json"}


def test_argilla_version_2(tmp_path):
    rows = [
        {"id": "r1", "fields": {"text": "one"}, "responses": {"topic": [{"value": ["a", "b"], "user_id": "u"}]}},
        {"id": "r2", "fields": {"prompt": "two 🛰"}, "responses": {"topic": [{"value": "ç"}, {"value": "a"}]}},
        {"id": "r3", "fields": {"text": "three"}, "responses": {}, "suggestions": {"topic": {"value": "a"}}},
        {"id": "r4", "fields": {"a": "x", "b": "y"}, "responses": {}},
    ]
    documents, rejects = read(write(tmp_path / "records.json", json.dumps(rows)), format="argilla")
    assert labels_of(documents) == {"r1": ["a", "b"], "r2": ["ç", "a"], "r3": None}
    assert documents[1]["text"] == "two 🛰"
    assert rejects == {"r4": "empty_text"}


def test_argilla_version_1(tmp_path):
    answer = {"values": {"topic": {"value": ["a"]}}, "status": "submitted", "user_id": "u"}
    draft = {"values": {"topic": {"value": ["draft"]}}, "status": "draft", "user_id": "v"}
    rows = [
        {
            "fields": {"text": "one"},
            "responses": [answer, draft],
            "external_id": "r1",
            "metadata": {"source": "web"},
        },
        {"text": None, "inputs": {"text": "two"}, "annotation": ["b"], "status": "Validated", "id": "r2"},
        {"text": "three", "inputs": {"text": "three"}, "annotation": "b", "status": "Discarded", "id": "r3"},
        {"text": "four", "annotation": None, "prediction": [["b", 0.9]], "status": "Default", "id": "r4"},
    ]
    path = write(tmp_path / "records.jsonl", "\n".join(map(json.dumps, rows)))
    documents, rejects = read(path, format="argilla")
    assert labels_of(documents) == {"r1": ["a"], "r2": ["b"], "r3": None, "r4": None}
    assert rejects == {}


ARGILLA_1 = [
    {"text": "one", "inputs": {"text": "one"}, "annotation": ["a", "it's b"], "multi_label": True, "id": "r1"},
    {"text": None, "inputs": {"body": 'two, "quoted"\nand more'}, "annotation": ["a"], "id": "r2"},
    {"text": "three", "inputs": None, "annotation": "a; b", "status": "Validated", "id": "r3"},
    {"text": "four", "prediction": [("a", 0.9)], "prediction_agent": "m", "status": "Default", "id": "r4"},
    {"text": "five", "annotation": ["a"], "status": "Discarded", "id": "r5"},
    {"text": "six", "annotation": "a", "annotation_agent": "me", "metadata": {"source": "web"}},
    {"text": "", "inputs": {"a": "x", "b": "y"}, "annotation": "a", "id": "r7"},
]
ARGILLA_COLUMNS = [
    *("text", "inputs", "prediction", "prediction_agent", "annotation", "annotation_agent", "vectors"),
    *("multi_label", "explanation", "id", "metadata", "status", "event_timestamp", "metrics", "search_keywords"),
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
def test_argilla_version_1_as_pandas_writes_it(tmp_path, kind):
    """`rg.load(…).to_pandas()`: in a CSV dictionaries and lists are as Python prints them."""
    rows = [dict.fromkeys(ARGILLA_COLUMNS) | row for row in ARGILLA_1]
    file = io.StringIO()
    if kind == "csv":
        csv.DictWriter(file, ARGILLA_COLUMNS).writeheader()
        csv.DictWriter(file, ARGILLA_COLUMNS).writerows(rows)
        file.write("cut off\n")
    else:
        file.write("\n".join(map(json.dumps, rows)) if kind == "jsonl" else json.dumps(rows))
    path = write(tmp_path / f"records.{kind}", file.getvalue())
    documents, rejects = read(path, format="argilla")
    name = documents[5]["doc_id"]
    assert name.startswith(f"records.{kind}-")
    labels = {"r1": ["a", "it's b"], "r2": ["a"], "r3": ["a; b"], "r4": None, "r5": None, name: ["a"]}
    assert labels_of(documents) == labels
    assert [row["text"] for row in documents][:3] == ["one", 'two, "quoted"\nand more', "three"]
    assert rejects == {"r7": "empty_text"} | ({"records.csv:9": "wrong_width"} if kind == "csv" else {})


PRINTED = ["nan", "NaN", "None", "null", "<NA>", "['x'", "['x', 'y']", "x", "['None']"]
CELLS = [{"id": f"r{row}", "text": "some", "labels": cell} for row, cell in enumerate(PRINTED)]


@pytest.mark.parametrize(
    ("name", "header", "label_format"),
    [
        ("d.csv", ["id", "text", "labels"], ""),
        ("d.tsv", ["id", "text", "labels"], ""),
        ("d.csv", ["id", "text", "annotation"], "argilla"),
        ("d.csv", ["document_id", "text", "subject_uris"], "annif-csv"),
        ("d.tsv", [], "annif-tsv"),
        ("d.jsonl", ["id", "text", "labels"], ""),
        ("d.parquet", ["id", "text", "labels"], ""),
    ],
)
def test_label_cells_of_text_may_be_missing_values_and_lists_as_programs_print_them(
    tmp_path, name, header, label_format
):
    """A broken list is a reject, a missing value no label; what stands in a list is one."""
    path, asked = tmp_path / name, {"format": label_format}
    if name == "d.parquet":
        pq.write_table(pa.Table.from_pylist(CELLS), path)
    elif name == "d.jsonl":
        write(path, "\n".join(map(json.dumps, CELLS)))
    else:
        cells = [header] * bool(header) + [list(row.values())[not header :] for row in CELLS]
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="\t" if name == "d.tsv" else ",").writerows(cells)
    if not label_format:
        asked["map"] = {"labels": "labels"}
    documents, rejects = read(path, **asked)
    assert [row["labels"] or [] for row in documents] == [[]] * 5 + [["x", "y"], ["x"], ["None"]]
    assert rejects == {"r5" if header else "d.tsv:6": "wrong_type"}


@pytest.mark.parametrize(
    ("cell", "labels"), [("None", ["None"]), ("['x', 'y']", ["x", "y"]), ("['x'", "wrong_type")]
)
@pytest.mark.parametrize(("name", "key"), [("doccano", "label"), ("argilla", "annotation")])
def test_tools_that_write_json_have_a_null_of_their_own(tmp_path, name, key, cell, labels):
    path = write(tmp_path / "d.jsonl", json.dumps({"id": "r", "text": "some", key: cell}))
    documents, rejects = read(path, format=name)
    assert (documents[0]["labels"] if documents else rejects["r"]) == labels


def test_a_csv_that_is_no_export_of_argilla_is_told(tmp_path):
    path = write(tmp_path / "d.csv", "id,text,label\n1,a,b\n")
    with pytest.raises(CorpusError, match=r"no column annotation.*source\.format = csv"):
        read(path, format="argilla")


@pytest.mark.parametrize("apart", [False, True])
def test_answers_to_several_questions_must_be_told_apart(tmp_path, apart):
    topic, comment = {"topic": [{"value": "a"}]}, {"comment": [{"value": "nice"}]}
    records = [{"responses": topic}, {"responses": comment}] if apart else [{"responses": {**topic, **comment}}]
    records = [{"id": str(place), "fields": {"text": "x"}, **record} for place, record in enumerate(records, 1)]
    path = write(tmp_path / "r.json", json.dumps(records))
    with pytest.raises(CorpusError, match=r"source\.map"):
        read(path, format="argilla")
    assert labels_of(read(path, format="argilla", map={"labels": "topic"})[0])["1"] == ["a"]


# svmlight


@pytest.mark.parametrize("name", ["d.svm", "d.libsvm", "d.txt", "d.txt.gz"])
@pytest.mark.parametrize("line", ["1 1:0.5 7:2e-3\n", "3,7 0:1\n", "-1 qid:3 5:.5 # a comment\n", " 1:0.5 2:1\n"])
def test_features_are_refused_with_a_word_about_text(tmp_path, name, line):
    content = f"# made by a tool\n{line}".encode()
    path = write(tmp_path / name, gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(CorpusError, match="svmlight features and no text"):
        read(path)


def test_a_txt_of_no_known_form_names_the_setting(tmp_path):
    with pytest.raises(CorpusError, match=r"source\.format"):
        read(write(tmp_path / "d.txt", "Just a text.\n"))
