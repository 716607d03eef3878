"""What a run of `tag` started again goes on with: the same content, wherever it lies."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from raytagger.bundle import content_id, peek_manifest, pin_bundle
from raytagger.corpus import list_documents, read_labels
from raytagger.corpus.output import SMALL
from raytagger.errors import CorpusError, StoreError
from raytagger.settings import ClusterSettings, SourceSettings
from raytagger.store import Store
from raytagger.stream.job import TagJob, read_job_labels
from tests.corpora import small_bundle, write_texts


@pytest.fixture
def store():
    return Store()


def key_of(store, bundle, documents, labels=""):
    place = pin_bundle(str(bundle), store)
    version = read_labels(store, labels).fingerprint if labels else ""
    source = SourceSettings(documents=str(documents))
    job = TagJob(place, source, 5, "", "", "", labels=labels, label_set=version)
    return job.key(content_id(peek_manifest(place, store)), list_documents(store, source))


def test_another_content_at_the_same_path_is_another_run(bundle, store, tmp_path):
    documents = write_texts(tmp_path / "docs.parquet", ["bread", "tides"])
    labels = str(shutil.copy(SMALL / "labels.jsonl", tmp_path / "labels.jsonl"))
    current = tmp_path / "current"
    shutil.copytree(pin_bundle(bundle, store), current)
    keys = [key_of(store, current, documents, labels), key_of(store, current, documents)]
    lines = Path(labels).read_text().splitlines(keepends=True)
    Path(labels).write_text("".join(lines[:-1]))
    keys.append(key_of(store, current, documents, labels))
    shutil.rmtree(current)
    shutil.copytree(pin_bundle(small_bundle(str(tmp_path / "other"), "tfidf"), store), current)
    keys.append(key_of(store, current, documents, labels))
    write_texts(documents, ["bread", "boats"])
    keys.append(key_of(store, current, documents, labels))
    assert len(set(keys)) == len(keys)
    assert key_of(store, current, documents, labels) == keys[-1]


def test_the_same_content_at_another_path_is_the_same_run(bundle, store, tmp_path):
    documents = write_texts(tmp_path / "docs.parquet", ["bread"])
    copies = [tmp_path / "one", tmp_path / "two"]
    labels = [str(shutil.copy(SMALL / "labels.jsonl", tmp_path / name)) for name in ("a.jsonl", "b.jsonl")]
    for copy in copies:
        shutil.copytree(pin_bundle(bundle, store), copy)
    assert (
        len(
            {
                key_of(store, *pair, label)
                for pair, label in zip([(copy, documents) for copy in copies], labels, strict=True)
            }
        )
        == 1
    )


def test_the_limit_of_rejects_and_the_cluster_change_no_unit():
    job = TagJob("b", SourceSettings(documents="d"), 5, "", "", "")
    lenient = dataclasses.replace(
        job,
        source=dataclasses.replace(job.source, max_reject_share=0.9),
        cluster=ClusterSettings(workers=7, address="ray://x:1"),
    )
    assert job.key("b", []) == lenient.key("b", [])


def test_what_is_edited_while_a_run_reads_it_is_named(store, tmp_path):
    labels = str(shutil.copy(SMALL / "labels.jsonl", tmp_path / "labels.jsonl"))
    version = read_labels(store, labels).fingerprint
    source = SourceSettings(labels=labels)
    assert read_job_labels(store, source, version).fingerprint == version
    Path(labels).write_text(Path(labels).read_text().replace("title", "text", 1))
    with pytest.raises(CorpusError, match=r"labels\.jsonl was changed while the run read it"):
        read_job_labels(store, source, version)
    (before,) = store.list(labels)
    store.check_unchanged(before)
    Path(labels).write_text("{}")
    with pytest.raises(StoreError, match=r"labels\.jsonl was changed while the run read it"):
        store.check_unchanged(before)
