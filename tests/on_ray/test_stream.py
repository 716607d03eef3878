"""The same work on a real Ray: what this process gives, byte by byte, and nothing dropped."""

import dataclasses
import gzip
import json
import os
import shutil
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raytagger.bundle import load, named, pin_bundle
from raytagger.corpus import read_labels
from raytagger.corpus.output import SMALL
from raytagger.errors import BundleError, CorpusError
from raytagger.recipes.fit import fit
from raytagger.retag.run import retag
from raytagger.settings import (
    ClusterSettings,
    FitRun,
    OutputSettings,
    RetagRun,
    RetagSettings,
    SearchSettings,
    SourceSettings,
    TreeSettings,
)
from raytagger.store import Store, join
from raytagger.store.tags import TagTable
from raytagger.stream.count import count_terms
from raytagger.stream.count_on_ray import COUNTED
from raytagger.stream.executor import ray_is_up
from raytagger.stream.output import tag_documents
from tests.corpora import STATIC, retag_run, write_texts
from tests.equal import assert_same_ranking
from tests.processes import command_of, descendants
from tests.unit.test_count import SPLITS, TEXTS, alone, assert_equal
from tests.unit.test_count import write_corpus as write_splits

DOCUMENTS = [json.loads(line) for line in (SMALL / "docs.jsonl").read_text().splitlines()]
TREES = {"flat": TreeSettings(), "deep": TreeSettings(splits=2, leaf=6, trees=2, dense_weight=0.5)}


def tag_run(documents, splits=(), chunk=64, share=0.5, workers=1, **source) -> RetagRun:
    return RetagRun(
        RetagSettings(documents=str(documents), splits=splits),
        SourceSettings(max_reject_share=share, **source),
        ClusterSettings(workers=workers, chunk_documents=chunk),
    )


def tree_run(out: Path, name: str) -> FitRun:
    return FitRun(
        method="xrlinear",
        source=SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl")),
        encoder=STATIC,
        tree=TREES[name],
        search=SearchSettings(index="tree" if name == "deep" else "auto"),
        cluster=ClusterSettings(chunk_documents=50),
        output=OutputSettings(str(out)),
    )


def rejects_of(output):
    return {row["doc_id"]: row["reason"] for row in pq.read_table(f"{output}.rejects.parquet").to_pylist()}


def rows_of(table):
    """The rows of a tag table but for the time."""
    tags = TagTable(Store(), str(table))
    delta = tags.open()
    assert delta is not None
    rows = [row for part in tags.read(delta) for row in part.drop_columns(["tagged_at"]).to_pylist()]
    return sorted(rows, key=lambda row: row["doc_id"])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A large file, small ones, and rows that are rejected while reading and while tagging; a folder."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = [json.dumps(row) for row in DOCUMENTS]
    (folder / "a.jsonl").write_text("\n".join(lines[:300]) + "\n{broken\n")
    for number, line in enumerate(lines[300:360]):
        (folder / f"b{number:03d}.jsonl").write_text(line + "\n")
    fatal = {"doc_id": "fatal", "text": "RAISE", "source": "here", "split": "test", "labels": []}
    (folder / "c.jsonl").write_text("\n".join([*lines[360:], json.dumps(fatal)]) + "\n")
    return folder


@pytest.fixture(scope="module")
def made_here(corpus, faulty, tmp_path_factory):
    """What this process makes before Ray is there: results, half of a run, a table, bundles; a folder."""
    assert not ray_is_up()
    folder = tmp_path_factory.mktemp("here")
    tag_documents(faulty, tag_run(corpus, columns=("source",)), str(folder / "tags.parquet"), 7)

    def interrupt(stage, done, total=None):
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tag_documents(faulty, tag_run(corpus, columns=("source",)), str(folder / "half.parquet"), 7, interrupt)
    retag(retag_run(str(corpus), faulty, str(folder / "table")))
    for name in TREES:
        fit(tree_run(folder / name, name))
    return folder


@pytest.fixture(scope="module")
def on_ray(made_here, ray_head):
    """Ray, once this process has done its part."""
    assert ray_is_up()
    return made_here


def test_ray_writes_what_this_process_writes_byte_by_byte(on_ray, corpus, faulty, tmp_path):
    output = tmp_path / "tags.parquet"
    tag_documents(faulty, tag_run(corpus, columns=("source",)), str(output), 7)
    for ending in ("", ".rejects.parquet"):
        ours, theirs = (Path(f"{place / 'tags.parquet'}{ending}") for place in (tmp_path, on_ray))
        assert ours.read_bytes() == theirs.read_bytes()
    assert sorted(rejects_of(output).values()) == ["not_json", "tagging_failed"]


def test_ray_takes_up_what_this_process_began(on_ray, corpus, faulty):
    summary = tag_documents(faulty, tag_run(corpus, columns=("source",)), str(on_ray / "half.parquet"), 7)
    assert summary.resumed_units > 0
    assert 0 < summary.tagged_now < summary.tagged
    assert (on_ray / "half.parquet").read_bytes() == (on_ray / "tags.parquet").read_bytes()


def test_the_table_of_a_night_has_the_same_rows(on_ray, corpus, faulty, tmp_path):
    retag(retag_run(str(corpus), faulty, str(tmp_path / "table")))
    assert rows_of(tmp_path / "table") == rows_of(on_ray / "table")


@pytest.mark.parametrize("name", TREES)
def test_linear_rankers_are_the_same_bit_by_bit(on_ray, tmp_path, name):
    assert fit(tree_run(tmp_path / name, name)).version == load(str(on_ray / name)).bundle_id


@pytest.mark.usefixtures("on_ray")
def test_many_workers_count_what_one_process_counts(tmp_path):
    run = write_splits(
        tmp_path / "corpus",
        {"a.parquet": (TEXTS[:150], SPLITS[:150]), "b.parquet": (TEXTS[150:], SPLITS[150:])},
    )
    told = []
    training = [text for text, split in zip(TEXTS, SPLITS, strict=True) if split == "train"]
    assert_equal(count_terms(run, lambda *what: told.append(what)), alone(training))
    assert told[-1] == ("counting", len(training))
    assert 1 <= len(told) < 230 / 10 / COUNTED  # of 23 units, the driver merges few


@pytest.mark.usefixtures("on_ray")
def test_many_processes_equal_one(bundle, tmp_path):
    output = str(tmp_path / "tags.parquet")
    run = tag_run(SMALL / "docs.jsonl", splits=("test",), chunk=16, workers=2)
    summary = tag_documents(bundle, run, output, k=7)
    rows = pq.read_table(output).to_pylist()
    expected_documents = [row for row in DOCUMENTS if row["split"] == "test"]
    assert summary.tagged == summary.read == len(expected_documents)
    assert [row["doc_id"] for row in rows] == [row["doc_id"] for row in expected_documents]
    tagger = load(bundle)
    expected = named(tagger.tag([row["text"] for row in expected_documents], 7), tagger.labels)
    for row, tags in zip(rows, expected, strict=True):
        assert_same_ranking(list(zip(row["label_ids"], row["scores"], strict=True)), tags)
    assert rejects_of(output) == {}


@pytest.mark.usefixtures("on_ray")
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
    with store.open(output) as file:
        rows = pq.read_table(file).to_pylist()
    assert [row["doc_id"] for row in rows] == [row["doc_id"] for row in DOCUMENTS[:100]]
    tagger = load(bundle)
    expected = named(tagger.tag([row["text"] for row in DOCUMENTS[:100]], 4), tagger.labels)
    for row, tags in zip(rows, expected, strict=True):
        assert_same_ranking(list(zip(row["label_ids"], row["scores"], strict=True)), tags)


@pytest.mark.usefixtures("on_ray")
def test_documents_that_raise_turn_to_nan_or_kill_their_process_are_put_aside_and_all_others_tagged(
    faulty, tmp_path
):
    texts = [f"a text about weather, number {row}" for row in range(48)]
    texts[7], texts[8], texts[14], texts[21] = "RAISE", "also RAISE this", "NAN", "KILL"
    output = str(tmp_path / "tags.parquet")
    summary = tag_documents(faulty, tag_run(write_texts(tmp_path / "docs.parquet", texts), chunk=16), output, k=3)
    refused = {"d000007", "d000008", "d000014"}
    assert rejects_of(output) == {**dict.fromkeys(refused, "tagging_failed"), "d000021": "process_died"}
    rows = pq.read_table(f"{output}.rejects.parquet").to_pylist()
    errors = {row["doc_id"]: row["error"] for row in rows}
    assert "does not like this text" in errors["d000007"]
    assert "not finite" in errors["d000014"]
    assert "signal 9" in errors["d000021"]
    tagged = pq.read_table(output)["doc_id"].to_pylist()
    assert tagged == sorted({f"d{row:06d}" for row in range(48)} - refused - {"d000021"})
    assert (summary.read, summary.tagged) == (48, 44)


@pytest.mark.usefixtures("on_ray")
def test_a_ledger_that_dies_is_started_anew(faulty, tmp_path):
    texts, killed = [f"SLOW text about tides, number {row}" for row in range(96)], []

    def kill_ledger(stage, done, total=None):
        ledgers = [pid for pid in descendants(os.getpid()) if command_of(pid).startswith("ray::Ledger")]
        if done and ledgers and not killed:
            killed.append(ledgers[0])
            os.kill(ledgers[0], signal.SIGKILL)

    run = tag_run(write_texts(tmp_path / "docs.parquet", texts), chunk=8)
    summary = tag_documents(faulty, run, str(tmp_path / "tags.parquet"), 3, kill_ledger)
    assert killed
    assert summary.tagged == 96


@pytest.mark.usefixtures("on_ray")
def test_a_damaged_file_is_one_clear_error(bundle, tmp_path):
    path = write_texts(tmp_path / "docs.parquet", ["one", "two"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"docs\.parquet cannot be read"):
        tag_documents(bundle, tag_run(path), str(tmp_path / "tags.parquet"), k=3)


def test_what_is_wrong_in_a_worker_is_our_own_error(on_ray, bundle, tmp_path):
    """Whatever Ray makes of it: of a reading task, or of an actor that cannot be made."""
    docs = write_texts(tmp_path / "docs.parquet", ["bread"])
    shutil.copy(docs, tmp_path / "docs.weird")
    with pytest.raises(CorpusError, match=r"docs\.weird") as raised:
        tag_documents(bundle, tag_run(tmp_path / "docs.weird"), str(tmp_path / "tags.parquet"), k=3)
    assert type(raised.value) is CorpusError
    shutil.copytree(pin_bundle(bundle, Store()), tmp_path / "broken")
    (tmp_path / "broken" / "label_LD.npy").unlink()
    with pytest.raises(BundleError, match=r"label_LD\.npy is missing") as raised:
        tag_documents(str(tmp_path / "broken"), tag_run(docs), str(tmp_path / "tags.parquet"), k=3)
    assert type(raised.value) is BundleError
    assert len(str(raised.value).splitlines()) == 1


def test_paths_may_be_relative_where_workers_stand_elsewhere(on_ray, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "docs.parquet", ["bread", "tides"])
    shutil.copytree(bundle, tmp_path / "model")
    labels = read_labels(Store(), str(SMALL / "labels.jsonl")).to_table()
    pq.write_table(labels, tmp_path / "labels.parquet")
    run = tag_run("docs.par*")
    run = dataclasses.replace(run, retag=dataclasses.replace(run.retag, labels="labels.parquet"))
    for output in ("tags.parquet", "folder/tags"):
        summary = tag_documents("model", run, output, k=3)
        assert summary.tagged == 2
    assert pq.read_table("tags.parquet")["doc_id"].to_pylist() == ["d000000", "d000001"]
    assert len(Store().list("folder/tags")) == 1
