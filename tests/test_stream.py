"""Tagging into Parquet: equal to the bundle, nothing dropped."""

import dataclasses
import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raytagger.bundle import load, named
from raytagger.corpus import read_labels
from raytagger.corpus.output import SMALL
from raytagger.encoders import load_encoder
from raytagger.errors import CorpusError, RejectsError, StoreError
from raytagger.settings import ClusterSettings, EncoderSettings, RetagRun, RetagSettings, SourceSettings
from raytagger.store import Store, join
from raytagger.stream.output import tag_documents
from tests.corpora import STATIC, small_bundle, write_texts
from tests.endpoint import serving
from tests.equal import assert_same_ranking

DOCUMENTS = [json.loads(line) for line in (SMALL / "docs.jsonl").read_text().splitlines()]


def tag_run(documents, splits=(), labels="", chunk=64, share=0.5, **source) -> RetagRun:
    return RetagRun(
        RetagSettings(documents=str(documents), splits=splits, labels=labels),
        SourceSettings(max_reject_share=share, **source),
        ClusterSettings(chunk_documents=chunk),
    )


def pairs_of(row):
    return list(zip(row["label_ids"], row["scores"], strict=True))


def rejects_of(output):
    return {row["doc_id"]: row["reason"] for row in pq.read_table(f"{output}.rejects.parquet").to_pylist()}


def test_it_tags_as_the_bundle_does(bundle, tmp_path):
    output = str(tmp_path / "tags.parquet")
    summary = tag_documents(bundle, tag_run(SMALL / "docs.jsonl", splits=("test",)), output, k=7)
    rows = pq.read_table(output).to_pylist()
    expected_documents = [row for row in DOCUMENTS if row["split"] == "test"]
    assert summary.tagged == summary.read == len(expected_documents)
    assert [row["doc_id"] for row in rows] == [row["doc_id"] for row in expected_documents]
    tagger = load(bundle)
    expected = named(tagger.tag([row["text"] for row in expected_documents], 7), tagger.labels)
    for row, tags in zip(rows, expected, strict=True):
        assert_same_ranking(pairs_of(row), tags)
    assert rejects_of(output) == {}
    assert sorted(os.listdir(tmp_path)) == ["tags.parquet", "tags.parquet.rejects.parquet"]


def test_a_directory_is_replaced_by_the_next_run_and_never_touched_when_foreign(bundle, tmp_path):
    output = str(tmp_path / "tags")
    tag_documents(bundle, tag_run(SMALL / "docs.jsonl"), output, k=3)
    tag_documents(bundle, tag_run(SMALL / "docs.jsonl", columns=("source",)), output, k=2)
    rows = pq.ParquetDataset(output).read().to_pylist()
    assert [row["doc_id"] for row in rows] == [row["doc_id"] for row in DOCUMENTS]
    assert {len(row["label_ids"]) for row in rows} == {2}
    assert [row["source"] for row in rows] == [row["source"] for row in DOCUMENTS]
    foreign = write_texts(tmp_path / "docs.parquet", ["a text"])
    with pytest.raises(StoreError, match="other files"):
        tag_documents(bundle, tag_run(foreign), str(tmp_path), k=2)
    assert foreign.exists()


@pytest.mark.s3
def test_object_storage_in_and_out_equals_the_local_disk(bundle, bucket, tmp_path):
    store = Store()
    lines = [json.dumps(row) for row in DOCUMENTS[:100]]
    for name, part in (("a.jsonl.gz", lines[:30]), ("b/c.jsonl.gz", lines[30:])):
        store.write_bytes(join(bucket, "docs", name), gzip.compress("\n".join(part).encode()))
    remote = join(bucket, "bundle")
    for entry in store.list(bundle):
        store.write_bytes(join(remote, entry.uri.removeprefix(bundle)), store.read_bytes(entry.uri))
    output = join(bucket, "tags.parquet")
    tag_documents(remote, tag_run(join(bucket, "docs"), chunk=20), output, k=4)
    local = str(tmp_path / "tags.parquet")
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    tag_documents(bundle, tag_run(tmp_path / "docs.jsonl"), local, k=4)
    with store.open(output) as file:
        remote_rows, local_rows = pq.read_table(file), pq.read_table(local)
    assert remote_rows["doc_id"].equals(local_rows["doc_id"])
    for one, other in zip(remote_rows.to_pylist(), local_rows.to_pylist(), strict=True):
        assert_same_ranking(pairs_of(one), pairs_of(other))


def test_a_text_that_an_endpoint_refuses_as_too_large_is_put_aside(tmp_path):
    output, texts = str(tmp_path / "tags.parquet"), [f"text {row}" for row in range(60)]
    texts[41] = "long " * 200
    path = write_texts(tmp_path / "docs.parquet", texts)
    with serving(load_encoder(STATIC, Store())) as endpoint:
        made = small_bundle(str(tmp_path / "out"), "dense", EncoderSettings(kind="http", path=endpoint.url))
        endpoint.refuse_large(8, 500, 413, "too long for us")
        summary = tag_documents(made, tag_run(path), output, k=3)
    assert (summary.read, summary.tagged) == (60, 59)
    assert rejects_of(output) == {"d000041": "tagging_failed"}
    (error,) = pq.read_table(f"{output}.rejects.parquet")["error"].to_pylist()
    assert "HTTP 413" in error
    assert "too long for us" in error


def test_rows_that_cannot_be_read_are_put_aside(bundle, tmp_path):
    path = tmp_path / "docs.jsonl"
    good = [{"doc_id": f"d{row}", "text": f"text number {row} about bread"} for row in range(20)]
    lines = [json.dumps(row).encode() for row in good]
    lines[3:3] = [b'{"doc_id": "broken', b"\xff\xfe", b'{"doc_id": "bare", "text": " "}', b'{"text": "no id"}']
    lines.append(json.dumps({"doc_id": "huge", "text": "x" * 10_000_000}).encode())
    path.write_bytes(b"\n".join(lines))
    output = str(tmp_path / "tags.parquet")
    summary = tag_documents(bundle, tag_run(path, chunk=5), output, k=3)
    assert pq.read_table(output)["doc_id"].to_pylist() == [row["doc_id"] for row in good]
    assert (summary.read, summary.tagged) == (25, 20)
    reasons = rejects_of(output)
    assert reasons["bare"] == "empty_text"
    assert reasons["huge"] == "too_long"
    assert sorted(reasons.values()) == ["empty_text", "no_id", "not_json", "not_utf8", "too_long"]


def test_documents_that_raise_or_turn_to_nan_are_put_aside_and_all_others_tagged(faulty, tmp_path):
    texts = [f"a text about sailing, number {row}" for row in range(40)]
    texts[7], texts[8], texts[31] = "RAISE", "also RAISE this", "NAN"
    output = str(tmp_path / "tags.parquet")
    tag_documents(faulty, tag_run(write_texts(tmp_path / "docs.parquet", texts)), output, k=3)
    assert rejects_of(output) == {name: "tagging_failed" for name in ("d000007", "d000008", "d000031")}
    assert len(pq.read_table(output)) == 37
    rejects = pq.read_table(f"{output}.rejects.parquet").to_pylist()
    assert "does not like this text" in rejects[0]["error"]
    assert "not finite" in rejects[2]["error"]


def test_too_many_rejects_stop_the_run_and_nothing_is_tagged_twice(faulty, tmp_path, monkeypatch):
    texts = ["RAISE" if row % 4 == 0 else f"text {row}" for row in range(40)]
    run = tag_run(write_texts(tmp_path / "docs.parquet", texts), chunk=10, share=0.01)
    output = str(tmp_path / "tags.parquet")
    with pytest.raises(RejectsError, match="10 of 40 documents") as raised:
        tag_documents(faulty, run, output, k=3)
    assert raised.value.exit_code == 3
    assert not os.path.exists(output)
    lenient = dataclasses.replace(run, source=dataclasses.replace(run.source, max_reject_share=0.5))
    assert tag_documents(faulty, lenient, output, k=3).tagged == 30


@pytest.mark.parametrize("output", ["tags.parquet", "tags"])
def test_of_duplicate_ids_the_first_is_kept_and_the_others_put_aside(bundle, tmp_path, output):
    texts = [f"text {row} about bread" for row in range(12)]
    (tmp_path / "docs").mkdir()
    write_texts(tmp_path / "docs" / "a.parquet", texts[:8])
    write_texts(tmp_path / "docs" / "b.parquet", texts[:8], start=4)
    run, place = tag_run(tmp_path / "docs", chunk=4), str(tmp_path / output)
    summary = tag_documents(bundle, run, place, k=3)
    assert (summary.read, summary.tagged, dict(summary.rejected)) == (16, 12, {"duplicate_id": 4})
    rows = pq.read_table(place) if output.endswith(".parquet") else pq.ParquetDataset(place).read()
    assert rows["doc_id"].to_pylist() == [f"d{row:06d}" for row in range(12)]
    assert rejects_of(place) == {f"d{row:06d}": "duplicate_id" for row in range(4, 8)}
    strict = dataclasses.replace(run, source=dataclasses.replace(run.source, max_reject_share=0.1))
    with pytest.raises(RejectsError, match="4 of 16 documents"):
        tag_documents(bundle, strict, str(tmp_path / "other.parquet"), k=3)
    assert not os.path.exists(tmp_path / "other.parquet")


def test_a_damaged_file_is_one_clear_error(bundle, tmp_path):
    path = write_texts(tmp_path / "docs.parquet", ["one", "two"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"docs\.parquet cannot be read"):
        tag_documents(bundle, tag_run(path), str(tmp_path / "tags.parquet"), k=3)


def test_an_empty_corpus_is_one_clear_error(bundle, tmp_path):
    (tmp_path / "docs").mkdir()
    with pytest.raises(CorpusError, match="no files"):
        tag_documents(bundle, tag_run(tmp_path / "docs"), str(tmp_path / "tags.parquet"), k=3)


def test_a_newer_label_set_is_answered_at_once(bundle, tmp_path):
    labels = read_labels(Store(), str(SMALL / "labels.jsonl")).to_table()
    new = pa.table({"label_id": ["new/volcano"], "title": ["Volcanoes"], "text": ["Eruptions, lava and ash."]})
    pq.write_table(pa.concat_tables([labels, new], promote_options="default"), tmp_path / "labels.parquet")
    path = write_texts(tmp_path / "docs.parquet", ["The volcano threw out lava and ash all night."])
    output = str(tmp_path / "tags.parquet")
    tag_documents(bundle, tag_run(path, labels=str(tmp_path / "labels.parquet")), output, k=3)
    assert pq.read_table(output)["label_ids"].to_pylist()[0][0] == "new/volcano"


def test_a_document_of_which_nothing_is_known_has_no_tags_and_is_blank(tmp_path):
    bundle = small_bundle(str(tmp_path / "bundle"), "tfidf")
    path = write_texts(tmp_path / "docs.parquet", ["Prune plums in summer.", "ꙮꙮ ⵣⵣⵣ", "A soup of leeks."])
    output = str(tmp_path / "tags.parquet")
    summary = tag_documents(bundle, tag_run(path, chunk=2), output, k=60)
    rows = pq.read_table(output)
    assert rows.column_names == ["doc_id", "label_ids", "scores", "blank"]
    assert rows["blank"].to_pylist() == [False, True, False]
    assert rows.to_pylist()[1]["label_ids"] == rows.to_pylist()[1]["scores"] == []
    assert all(score > 0 for row in rows.to_pylist() for score in row["scores"])
    assert summary.blank == 1
    assert "33.3 % blank" in summary.line(output)
    assert "warning: 33.3 % of the documents are blank" in summary.line(output)
