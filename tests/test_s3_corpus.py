"""A person's corpus in object storage is told from its label files, and gets its splits, as on disk."""

import json

import pyarrow as pa
import pytest

from raytagger.corpus import read_documents
from raytagger.settings import SourceSettings
from raytagger.store import Store

pytestmark = pytest.mark.s3


def write(uri, *rows: object):
    Store().write_bytes(uri, "".join(json.dumps(row) + "\n" for row in rows).encode())


def read(source):
    return pa.concat_tables([chunk.documents for chunk in read_documents(Store(), source)]).to_pylist()


def test_splits_and_label_files_are_told_by_their_places(bucket):
    write(f"{bucket}/split=Train/part-0.jsonl", {"id": "1", "text": "a"})
    write(f"{bucket}/test-00000-of-00001.jsonl", {"id": "2", "text": "a"})
    write(f"{bucket}/terms.jsonl", {"id": "x", "text": "x"})
    write(f"{bucket}/labels.jsonl", {"label_id": "x", "text": "x"})
    found = read(SourceSettings(documents=bucket, labels=f"{bucket}/terms.jsonl"))
    assert {row["doc_id"]: row["split"] for row in found} == {"1": "train", "2": "test"}


def test_pairs_that_must_not_count_lie_beside_the_documents(bucket):
    write(f"{bucket}/tst.json", {"uid": "1", "title": "t", "content": "c", "target_ind": [0, 1]})
    Store().write_bytes(f"{bucket}/filter_labels_test.txt", b"0 1\n")
    assert read(SourceSettings(documents=f"{bucket}/tst.json"))[0]["labels"] == ["0"]
