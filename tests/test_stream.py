"""The stream on a real Ray: equal to one process, nothing dropped, resumable."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytagger.bundle import load, named
from raytagger.corpus.output import SMALL
from raytagger.errors import CorpusError, RejectsError
from raytagger.settings import ClusterSettings, RetagRun, RetagSettings, SourceSettings
from raytagger.store import Store, join
from raytagger.stream.output import tag_documents
from tests.corpora import faulty_bundle, small_bundle, write_texts

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_head")]


def tag_run(documents, splits=(), chunk=50, share=0.5, **source) -> RetagRun:
    return RetagRun(
        RetagSettings(documents=str(documents), splits=splits),
        SourceSettings(max_reject_share=share, **source),
        ClusterSettings(workers=2, chunk_documents=chunk),
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return small_bundle(str(tmp_path_factory.mktemp("bundle") / "out"))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    return faulty_bundle(str(tmp_path_factory.mktemp("faulty") / "out"))


def test_many_processes_equal_one(bundle, tmp_path):
    tagger = load(bundle)
    output = str(tmp_path / "tags.parquet")
    summary = tag_documents(bundle, tag_run(SMALL / "docs.jsonl", splits=("test",)), output, k=7)
    rows = pq.read_table(output).to_pylist()
    texts = {row["doc_id"]: row["text"] for row in pa.json.read_json(SMALL / "docs.jsonl").to_pylist()} if False else None
    documents = [row for row in _documents() if row["split"] == "test"]
    assert [row["doc_id"] for row in rows] == [row["doc_id"] for row in documents]
    assert summary.tagged == len(documents)
    assert texts is None
    expected = named(tagger.tag([row["text"] for row in documents], 7), tagger.labels)
    for row, tags in zip(rows, expected, strict=True):
        assert row["label_ids"] == [label for label, _ in tags]
        np.testing.assert_allclose(row["scores"], [score for _, score in tags], atol=1e-4)
    assert len(pq.read_table(output + ".rejects.parquet")) == 0
    assert sorted(os.listdir(tmp_path)) == ["tags.parquet", "tags.parquet.rejects.parquet"]


def _documents():
    import json

    return [json.loads(line) for line in (SMALL / "docs.jsonl").read_text().splitlines()]
