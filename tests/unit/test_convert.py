"""`raytagger corpus convert`."""

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raytagger.cli import app
from raytagger.corpus import read_labels
from raytagger.corpus.convert import convert
from raytagger.corpus.documents import read_documents
from raytagger.errors import StoreError
from raytagger.settings import SourceSettings
from raytagger.store import Store

LABELS = "<http://e/1>\tnetworking\n<http://e/2>\tcode\n<http://e/3>\tcode\n"
LINES = [
    {"id": "1", "text": "one", "labels": ["http://e/1"], "split": "train", "year": 1999},
    {"id": "2", "text": "two 🛰", "labels": ["networking", "http://e/1", "code"], "split": "test", "year": 2001},
    {"id": "3", "text": "", "labels": []},
    {"id": "1", "text": "again", "labels": []},
]


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "docs.jsonl").write_text("\n".join(map(json.dumps, LINES)) + "\nnot json\n")
    (tmp_path / "subjects.tsv").write_text(LABELS)
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, ["corpus", "convert", *map(str, words)])


def test_documents_labels_and_rejects_become_parquet(corpus):
    words = [corpus / "docs.jsonl", "--output", corpus / "out", "--labels", corpus / "subjects.tsv"]
    words += ["--label-format", "annif-vocabulary", "--set", 'source.columns=["year"]', "--json"]
    result = run(*words, "--set", "source.max_reject_share=0.9")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout.splitlines()[-1])
    assert facts["files"] == ["docs.parquet", "docs.rejects.parquet", "labels.parquet"]
    assert facts["rejects"] == {"duplicate_id": 1, "empty_text": 1, "not_json": 1}
    assert (facts["n_documents"], facts["labels"], facts["named"]) == (2, 3, 1)
    assert facts["unknown_labels"]["examples"] == ["code"]  # the title of two labels
    documents = pq.read_table(corpus / "out" / "docs.parquet").to_pylist()
    assert documents == [
        {"doc_id": "1", "text": "one", "labels": ["http://e/1"], "split": "train", "year": 1999},
        {"doc_id": "2", "text": "two 🛰", "labels": ["http://e/1", "code"], "split": "test", "year": 2001},
    ]
    rejects = pq.read_table(corpus / "out" / "docs.rejects.parquet").to_pylist()
    assert [row["reason"] for row in rejects] == ["empty_text", "not_json", "duplicate_id"]
    assert len(documents) + len(rejects) == len(LINES) + 1


def test_what_was_converted_reads_as_before(corpus):
    source = SourceSettings(documents=str(corpus / "docs.jsonl"), max_reject_share=0.9)
    convert(Store(), source, str(corpus / "out"))
    again = SourceSettings(documents=str(corpus / "out" / "docs.parquet"))
    before = [row for chunk in read_documents(Store(), source) for row in chunk.documents.to_pylist()]
    after = [row for chunk in read_documents(Store(), again) for row in chunk.documents.to_pylist()]
    assert after == before[:2]  # the third has the first one's id


def test_too_many_rejects_end_with_3_and_leave_the_rejects_alone(corpus):
    result = run(corpus / "docs.jsonl", "--output", corpus / "out")
    assert result.exit_code == 3
    assert "3 of 5" in result.output
    assert [path.name for path in (corpus / "out").iterdir()] == ["docs.rejects.parquet"]
    assert pq.read_metadata(corpus / "out" / "docs.rejects.parquet").num_rows == 3


def test_a_failed_conversion_leaves_the_last_one_as_it_was(corpus):
    out = corpus / "out"
    assert run(corpus / "docs.jsonl", "--output", out, "--set", "source.max_reject_share=0.9").exit_code == 0
    before = (out / "docs.parquet").read_bytes()
    (corpus / "docs.jsonl").write_text('{"id": 1}\n')
    assert run(corpus / "docs.jsonl", "--output", out).exit_code == 1
    assert (out / "docs.parquet").read_bytes() == before


def test_a_vocabulary_becomes_labels_alone(corpus):
    result = run(corpus / "subjects.tsv", "--format", "annif-vocabulary", "--output", corpus / "out")
    assert (result.exit_code, result.stdout) == (0, f"3 labels: {corpus / 'out'}\n")
    assert [path.name for path in (corpus / "out").iterdir()] == ["labels.parquet"]
    assert read_labels(Store(), str(corpus / "out" / "labels.parquet")).titles == ("networking", "code", "code")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.ttl", "<http://e/1> a <http://www.w3.org/2004/02/skos/core#Concept> ."),
        ("Tags.xml", '<tags>\n<row Id="1" TagName="oven" />\n</tags>\n'),
    ],
)
def test_vocabularies_are_known_by_their_names(corpus, name, content):
    (corpus / name).write_text(content)
    assert run(corpus / name, "--output", corpus / "out").stdout == f"1 labels: {corpus / 'out'}\n"


@pytest.mark.parametrize("name", ["file", "docs.parquet"])
def test_a_target_that_cannot_be_written_is_found_before_anything_is_read(corpus, name):
    target = corpus / "file" if name == "file" else corpus
    (corpus / name).write_text("") if name == "file" else (corpus / name).mkdir()
    with pytest.raises(
        StoreError, match=r"a file is where a folder is to be made|a folder is where a file is to be written"
    ):
        convert(Store(), SourceSettings(documents="/nowhere/at/all.jsonl"), str(target))


def test_an_empty_folder_of_rejects_is_written_too(corpus):
    (corpus / "docs.jsonl").write_text('{"id": "1", "text": "one"}\n')
    assert run(corpus / "docs.jsonl", "--output", corpus / "out").exit_code == 0
    assert pq.read_metadata(corpus / "out" / "docs.rejects.parquet").num_rows == 0
