import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytagger.corpus.documents import list_documents, read_documents
from raytagger.corpus.formats import find_format
from raytagger.corpus.labels import read_labels
from raytagger.corpus.xmc_sparse import read_sparse
from raytagger.errors import CorpusError
from raytagger.settings import SourceSettings
from raytagger.store import Store


def read(path, rows=2048, **source: object):
    settings = SourceSettings(documents=str(path), **{"max_reject_share": 1.0, **source})
    chunks = list(read_documents(Store(), settings, rows))
    documents = pa.concat_tables([chunk.documents for chunk in chunks], promote_options="default")
    rejects = pa.concat_tables([chunk.rejects for chunk in chunks])
    return documents.to_pylist(), {row["doc_id"]: row["reason"] for row in rejects.to_pylist()}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_reads_quoted_line_breaks_lists_and_carried_columns(tmp_path):
    text = '\ufeffid,text,labels,split,year\r\n1,"two\nlines, ""quoted""",a;b,train,1999\r\n'
    text += '\r\n2,plain,a| b ,,\r\n3,json,"[""x;y"", 7]",test,2001\r\n4,bare,,test,\r\n'
    documents, rejects = read(write(tmp_path / "d.csv", text), columns=("year",))
    assert rejects == {}
    assert [row["text"] for row in documents] == ['two\nlines, "quoted"', "plain", "json", "bare"]
    assert [row["labels"] for row in documents] == [["a", "b"], ["a", "b"], ["x;y", "7"], []]
    assert [row["year"] for row in documents] == ["1999", "", "2001", ""]


def test_tsv(tmp_path):
    documents, _ = read(write(tmp_path / "d.tsv", "doc_id\ttext\n1\ta, b\n"))
    assert documents == [{"doc_id": "1", "text": "a, b", "labels": None, "split": None}]


def test_csv_rejects_bad_rows_one_by_one(tmp_path):
    content = b'id,text,labels\n1,good,a\n2,\xff,a\n3,short\n4,x,a,b\n5,"bad"quote,a\n6,x,[a\n\xfe,x,a\n8,good,\n'
    documents, rejects = read(write(tmp_path / "d.csv", content), rows=3)
    assert [row["doc_id"] for row in documents] == ["1", "8"]
    assert rejects == {
        "2": "not_utf8",
        "d.csv:4": "wrong_width",
        "d.csv:5": "wrong_width",
        "d.csv:6": "not_csv",
        "6": "wrong_type",
        "d.csv:8": "not_utf8",
    }


def test_csv_takes_long_fields(tmp_path):
    documents, _ = read(write(tmp_path / "d.csv", f"id,text\n1,{'x' * 300_000}\n"))
    assert len(documents[0]["text"]) == 300_000


def test_an_unclosed_quote_takes_no_other_line_with_it(tmp_path):
    documents, rejects = read(write(tmp_path / "d.csv", 'id,text\n1,a\n2,"open\n3,b\n'))
    assert [row["doc_id"] for row in documents] == ["1", "3"]
    assert rejects == {"d.csv:3": "not_csv"}


@pytest.mark.parametrize("content", [b"id,text,text\n1,a,b\n", b"id,t\xffxt\n1,a\n", b'"id,text\n1,a\n'])
def test_csv_with_a_bad_header_is_an_error(tmp_path, content):
    with pytest.raises(CorpusError, match=r"twice|header"):
        read(write(tmp_path / "d.csv", content))


LINES = "".join(f'{{"id": {row}, "text": "t{row}"}}\n' for row in range(300)).encode()
CSV = b"id,text\n" + b"".join(b"%d,t%d\n" % (row, row) for row in range(300))
# Of no time: what is packed names its test.
TWO_MEMBERS = gzip.compress(LINES[:1000], mtime=0) + gzip.compress(LINES[1000:], mtime=0)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("d.jsonl.gz", TWO_MEMBERS),
        ("d.json.gz", TWO_MEMBERS),
        ("d.JSONL.GZ", TWO_MEMBERS),
        ("d.jsonl.zst", bytes(pa.Codec("zstd").compress(LINES))),
        ("d.csv.gz", gzip.compress(CSV, mtime=0)),
    ],
)
def test_compressed_files_are_unpacked(tmp_path, name, packed):
    documents, rejects = read(write(tmp_path / name, packed), rows=64)
    assert rejects == {}
    assert [(row["doc_id"], row["text"]) for row in documents] == [(str(row), f"t{row}") for row in range(300)]


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("d.jsonl.gz", TWO_MEMBERS[:-20]),
        ("d.csv.gz", gzip.compress(b"id,text\n1,a\n", mtime=0)[:-9]),
        ("d.jsonl.zst", bytes(pa.Codec("zstd").compress(LINES))[:-5]),
        ("d.jsonl.gz", b"not packed at all"),
    ],
)
def test_a_damaged_compressed_file_is_one_error(tmp_path, name, packed):
    with pytest.raises(CorpusError, match=r"cannot be read.*cut off"):
        read(write(tmp_path / name, packed))


def test_parquet_inside_gzip_is_explained(tmp_path):
    pq.write_table(pa.table({"id": ["1"], "text": ["a"]}), tmp_path / "d.parquet")
    packed = gzip.compress((tmp_path / "d.parquet").read_bytes())
    with pytest.raises(CorpusError, match="Unpack it"):
        read(write(tmp_path / "e.parquet.gz", packed))


def test_an_unknown_ending_or_format_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match="no reader"):
        find_format("a.docx")
    with pytest.raises(CorpusError, match="no reader"):
        find_format("a.jsonl", "word")


def test_a_json_array_is_explained(tmp_path):
    with pytest.raises(CorpusError, match="jq"):
        read(write(tmp_path / "d.json", '[{"id": "1", "text": "a"}]'))


def write_xmc(folder):
    documents = [
        {"uid": "A", "title": "T", "content": "C", "target_ind": [0, 2], "target_rel": [1.0, 1.0]},
        {"uid": 7, "title": "only", "content": "", "target_ind": []},
        {"uid": "B", "title": "", "content": "body", "target_ind": [1]},
        {"uid": "C", "title": "", "content": "", "target_ind": [1]},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in documents).encode()
    (folder / "trn.json.gz").write_bytes(gzip.compress(lines, mtime=0))
    (folder / "tst.json").write_bytes(lines.replace(b'"A"', b'"D"').splitlines(keepends=True)[0])
    labels = [
        {"uid": "L0", "title": "zero"},
        {"uid": "L1", "title": "one", "content": "text"},
        {"title": "two"},
    ]
    (folder / "lbl.json").write_text("".join(json.dumps(row) + "\n" for row in labels))
    (folder / "train.txt").write_text("0 0 0\n")


def test_xmc_json_documents_and_labels(tmp_path):
    write_xmc(tmp_path)
    documents, rejects = read(tmp_path, columns=("title",))
    assert documents == [
        {"doc_id": "A", "text": "T. C", "labels": ["0", "2"], "split": "train", "title": "T"},
        {"doc_id": "7", "text": "only", "labels": [], "split": "train", "title": "only"},
        {"doc_id": "B", "text": "body", "labels": ["1"], "split": "train", "title": ""},
        {"doc_id": "D", "text": "T. C", "labels": ["0", "2"], "split": "test", "title": "T"},
    ]
    assert rejects == {"C": "empty_text"}
    labels = read_labels(Store(), str(tmp_path / "lbl.json"))
    assert labels.ids == ("0", "1", "2")
    assert labels.full_texts == ["zero", "one. text", "two"]


def test_xmc_json_is_known_by_its_first_line_or_by_its_format(tmp_path):
    line = '{"uid": "1", "title": "a", "content": "b"}\n'
    assert read(write(tmp_path / "tst.json", line))[0][0]["text"] == "a. b"
    assert read(write(tmp_path / "x.json", line.replace("}", ', "target_ind": []}')))[0][0]["text"] == "a. b"
    assert read(write(tmp_path / "x.ndjson", line), format="xmc-json")[0][0]["text"] == "a. b"
    assert read(write(tmp_path / "y.json", '{"id": "1", "text": "b"}\n'))[0][0]["text"] == "b"


def test_the_other_files_of_a_plain_folder_all_count(tmp_path):
    for name in ("train.json", "val.jsonl", "_SUCCESS"):
        write(tmp_path / name, '{"id": "1", "text": "b"}\n')
    entries = list_documents(Store(), SourceSettings(documents=str(tmp_path)))
    assert [entry.uri.rsplit("/", 1)[-1] for entry in entries] == ["train.json", "val.jsonl"]


SPARSE = "7 5 4\n0,3 0:1.5 4:2\n 1:1\n2\n\n9 1:1\n1 5:1\n1 2:x 3:1\n"


def test_xmc_sparse_matrices(tmp_path):
    path = write(tmp_path / "train.txt", SPARSE)
    chunks = list(read_sparse(Store(), str(path), rows=3))
    assert [chunk.doc_ids for chunk in chunks] == [["train-0", "train-1", "train-2"], ["train-3"], []]
    np.testing.assert_array_equal(chunks[0].feature_BV.toarray(), [[1.5, 0, 0, 0, 2], [0, 1, 0, 0, 0], [0] * 5])
    np.testing.assert_array_equal(chunks[0].label_BL.toarray(), [[1, 0, 0, 1], [0] * 4, [0, 0, 1, 0]])
    assert chunks[1].feature_BV.nnz == 0
    assert [row.position for chunk in chunks for row in chunk.bad] == [6, 7, 8]


def test_xmc_sparse_as_documents_has_no_text(tmp_path):
    documents, rejects = read(write(tmp_path / "test.txt", SPARSE), columns=("features",))
    assert documents == []
    assert [*rejects.values()].count("malformed") == 3
    assert rejects["test-0"] == "empty_text"


@pytest.mark.parametrize("content", ["", "some text\n", "2 5 4\n1 1:1\n", "1 5 4\n1 1:1\n1 1:1\n"])
def test_xmc_sparse_with_a_wrong_header_is_an_error(tmp_path, content):
    with pytest.raises(CorpusError, match="header"):
        list(read_sparse(Store(), str(write(tmp_path / "train.txt", content))))
