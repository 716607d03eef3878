import json

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from raytagger.corpus import DocumentChunk, LabelSet, read_documents
from raytagger.corpus.report import CorpusReport
from raytagger.corpus.unique import HashRuns
from raytagger.schema import REJECT_SCHEMA
from raytagger.settings import SourceSettings
from raytagger.store import Store

LABELS = LabelSet(
    ("x", "y", "same", "empty", "gone"),
    ("X", "Y", "X", "", ""),
    ("", "", "", "", ""),
    status=("active", "active", "active", "active", "retired"),
)


def read(path, rows, chunk_rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = CorpusReport(LABELS)
    for chunk in read_documents(Store(), SourceSettings(documents=str(path), max_reject_share=1.0), chunk_rows):
        report.add(chunk)
    return report


ROWS = [
    {"id": "1", "text": "a", "labels": ["x", "new"], "split": "train"},
    {"id": "2", "text": "a", "labels": [], "split": "train"},
    {"id": "1", "text": "b", "labels": ["y", "newest"], "split": "test"},
    {"id": "6", "text": "b", "labels": ["y", "new", "newer"], "split": "test"},
    {"id": "3", "text": "b"},
    {"id": "4", "text": " ", "labels": ["x"], "split": "test"},
    {"id": "5", "text": 5},
]


def test_every_finding_is_counted_with_examples(tmp_path):
    reports = [read(tmp_path / "d.jsonl", ROWS, rows) for rows in (1, 2, 100)]
    assert reports[0].as_dict() == {
        "n_documents": 4,
        "n_labels": 4,
        "splits": {"": 1, "test": 1, "train": 2},
        "rejects": {"duplicate_id": 1, "empty_text": 1, "wrong_type": 1},
        "left_out": 0,
        "hint": "",
        "duplicate_ids": {"count": 1, "examples": ["1"]},
        "empty_texts": {"count": 1, "examples": ["4"]},
        "over_lines": {"count": 0, "examples": []},
        "without_labels": {"count": 2, "examples": ["2", "3"]},
        "unknown_labels": {"count": 3, "examples": ["new", "newer"]},
        "marked_unseen": {"count": 0, "examples": []},
        "empty_labels": {"count": 1, "examples": ["empty"]},
        "duplicate_label_texts": {"count": 1, "examples": ["same"]},
    }
    assert reports[0].as_dict() == reports[1].as_dict() == reports[2].as_dict()
    json.dumps(reports[0].as_dict())


def test_lines_tell_only_what_is_not_zero(tmp_path):
    lines = read(
        tmp_path / "d.jsonl", ROWS[1:2] + [{"id": str(row), "text": "a"} for row in range(10, 17)], 4
    ).lines()
    assert lines == [
        "documents: 8 (1 train, 7 without a split)",
        "labels: 4",
        "documents without labels: 8 (2, 10, 11, 12, 13, …)",
        "labels with neither title nor text: 1 (empty)",
        "labels with the text of an earlier one: 1 (same)",
    ]


def test_a_report_needs_no_labels_and_no_documents():
    report = CorpusReport()
    documents = pa.table(
        {
            "doc_id": ["1"],
            "text": ["a"],
            "labels": pa.array([["x", None]], pa.list_(pa.string())),
            "split": pa.nulls(1, pa.string()),
        }
    )
    assert report.lines() == ["documents: 0"]
    report.add(DocumentChunk(0, documents, REJECT_SCHEMA.empty_table()))
    report.add(DocumentChunk(1, documents.slice(0, 0), REJECT_SCHEMA.empty_table()))
    assert report.lines() == ["documents: 1 (1 without a split)"]


@given(st.lists(st.lists(st.integers(0, 60), max_size=20), max_size=12))
def test_repeated_hashes_are_found_exactly(chunks):
    runs, seen = HashRuns(), set()
    for chunk in chunks:
        expected = []
        for value in chunk:
            expected.append(value in seen)
            seen.add(value)
        assert runs.add(np.array(chunk, np.uint64)).tolist() == expected
