"""What decides the text that a model sees lives in its bundle and holds wherever the bundle reads documents."""

import dataclasses
import json
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from raytagger.bundle import load, text_settings
from raytagger.bundle.texts import join_fields, shared_text_settings
from raytagger.cli import app
from raytagger.corpus import read_documents
from raytagger.doctor.visit import Trial, examine_labels
from raytagger.errors import CorpusError, SettingsError
from raytagger.evaluate import Asked, evaluate
from raytagger.recipes.fit import fit
from raytagger.serve.api import make_api
from raytagger.settings import FitRun, OutputSettings, SearchSettings, SourceSettings, to_values
from tests.corpora import STATIC

FIELDS = ("title", "text")


def manifest(**source):
    return {"settings": to_values(FitRun(source=SourceSettings(**{"documents": "docs", **source})))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Documents whose titles say everything and whose texts say nothing, and a bundle that was fitted on both."""
    folder = tmp_path_factory.mktemp("fields")
    names = [f"café{number}" for number in range(20)]
    rows = [
        {"doc_id": f"{split}{n}", "title": name, "text": "nothing of note", "labels": [name], "split": split}
        for n, name in enumerate(names)
        for split in ("train", "test")
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "docs.parquet")
    pq.write_table(pa.table({"label_id": names, "title": names}), folder / "labels.parquet")
    source = SourceSettings(str(folder / "docs.parquet"), str(folder / "labels.parquet"), FIELDS)
    fit(FitRun(source=source, search=SearchSettings(kind="tfidf"), output=OutputSettings(str(folder / "bundle"))))
    return folder


def test_evaluate_reads_the_fields_of_the_bundle(folder, store):
    source = SourceSettings(documents=str(folder / "docs.parquet"))
    tagger = load(str(folder / "bundle"))
    assert evaluate(tagger, store, source, Asked())["P@1"] == 1
    named = dataclasses.replace(source, fields=FIELDS)
    assert evaluate(tagger, store, named, Asked())["P@1"] == 1
    other = dataclasses.replace(source, fields=("text",))
    with pytest.raises(SettingsError, match=r"source\.fields.*got \('text',\); expected \('title', 'text'\)"):
        evaluate(tagger, store, other, Asked())
    run = CliRunner().invoke(
        app, ["evaluate", str(folder / "bundle"), "--documents", source.documents, "--field", "title"]
    )
    assert run.exit_code == 2
    assert "source.map" in run.stderr


def test_the_label_doctor_reads_labels_as_the_bundle_did(tmp_path, store):
    (tmp_path / "labels.jsonl").write_text('{"id": "a", "text": "\ufb01sh"}\n{"id": "b", "text": "fowl"}\n')
    rows = [{"id": f"{split}", "text": "fish", "labels": ["a"], "split": split} for split in ("train", "test")]
    rows[1]["labels"] = ["b"]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = SourceSettings(str(tmp_path / "docs.jsonl"), str(tmp_path / "labels.jsonl"), normalise="nfkc")
    place = str(tmp_path / "bundle")
    fit(FitRun(source=source, search=SearchSettings(kind="tfidf"), output=OutputSettings(place)))
    trial = Trial(place, SourceSettings(source.documents))
    found = examine_labels(source.labels, STATIC, 0.95, trial, store=store)
    assert found.label_set_id == load(place).labels.fingerprint


def test_the_endpoint_joins_fields_as_the_reader_does(folder, store):
    tagger = load(str(folder / "bundle"))
    source = SourceSettings(documents=str(folder / "docs.parquet"), fields=FIELDS)
    read = next(read_documents(store, source)).documents["text"].to_pylist()
    with TestClient(make_api(tagger, max_texts=4)) as api:
        assert api.get("/healthz").json()["fields"] == ["title", "text"]
        texts = [
            {"text": "nothing of note", "title": "café7"},
            read[14],
            {"title": "café7"},
            {"text": None, "title": "café7"},
        ]
        rows = api.post("/v1/tag", json={"texts": texts, "k": 1}).raise_for_status().json()["results"]
        assert {row["tags"][0]["label_id"] for row in rows} == {"café7"}
        assert rows[0]["tags"] == rows[1]["tags"]
        assert rows[2]["tags"] == rows[3]["tags"]


@pytest.mark.parametrize(
    "parts", [("a", "b"), ("a", ""), ("", "b"), (" ", "b"), ("a", None), (None, None), ("", " "), (" a ", "b")]
)
def test_joined_fields_are_what_the_reader_gives(parts, store, tmp_path):
    row = {"doc_id": "d", "title": parts[0], "text": parts[1]}
    (tmp_path / "docs.jsonl").write_text(json.dumps(row) + "\n")
    source = SourceSettings(str(tmp_path / "docs.jsonl"), fields=FIELDS, max_reject_share=1.0)
    read = next(read_documents(store, source)).documents["text"].to_pylist()
    assert join_fields(parts) == (read[0] if read else "")


def test_one_text_in_two_unicode_forms_is_tagged_alike(folder):
    tagger = load(str(folder / "bundle"))
    composed, decomposed = (unicodedata.normalize(form, "café7") for form in ("NFC", "NFD"))
    assert composed != decomposed
    one, other = tagger.tag([composed]), tagger.tag([decomposed])
    assert tagger.labels.ids[one.label_BK[0, 0]] == "café7"
    np.testing.assert_array_equal(one.label_BK, other.label_BK)
    np.testing.assert_array_equal(one.score_BK, other.score_BK)


def test_what_is_left_at_its_default_is_the_bundles():
    kept = manifest(fields=FIELDS, normalise="nfkc", map={"text": "body", "labels": "tags"}, columns=("source",))
    found = text_settings(kept, SourceSettings("new", max_bytes=7))
    assert found == SourceSettings("new", fields=FIELDS, normalise="nfkc", map={"text": "body"}, max_bytes=7)
    asked = SourceSettings("new", map={"text": "content"})
    assert text_settings(kept, asked).map == {"text": "content"}


def test_a_difference_is_an_error():
    with pytest.raises(SettingsError, match=r"source\.fields.*got \('title', 'text'\); expected \('text',\)"):
        text_settings(manifest(), SourceSettings(fields=FIELDS))
    assert text_settings(manifest(), SourceSettings(fields=("text",))).fields == ("text",)
    with pytest.raises(SettingsError, match=r"source\.normalise.*got 'nfkc'"):
        text_settings(manifest(), SourceSettings(normalise="nfkc"))


def test_a_manifest_from_before_a_setting_means_what_was_done_then():
    old = manifest()
    del old["settings"]["source"]["normalise"]
    assert text_settings(old, SourceSettings()).normalise == "none"
    assert text_settings({}, SourceSettings(fields=FIELDS)) == SourceSettings(fields=FIELDS)


def test_a_bundle_that_has_seen_label_texts_alone_reads_any_fields():
    assert text_settings(manifest(documents=""), SourceSettings(fields=FIELDS)).fields == FIELDS


def test_bundles_that_read_different_texts_do_not_go_together():
    both, plain = manifest(fields=FIELDS), manifest()
    assert shared_text_settings([both, both], SourceSettings()).fields == FIELDS
    for order in ([both, plain], [plain, both]):
        with pytest.raises(SettingsError, match=r"source\.fields"):
            shared_text_settings(order, SourceSettings())


@pytest.mark.parametrize(
    "texts", ["one string", b"bytes", {"text": "a"}, 5, None, [None], [5], ["a", b"b"], [["a"]]]
)
def test_what_is_no_list_of_texts_is_our_own_error(folder, texts):
    with pytest.raises(CorpusError, match="text"):
        load(str(folder / "bundle")).tag(texts)


@pytest.mark.parametrize("texts", [["\ud800"], [{"title": 5}], [{"title": {"text": "a"}}], [{"headline": "a"}]])
def test_texts_that_cannot_be_read_are_named(folder, texts):
    with pytest.raises(CorpusError, match="text 0"):
        load(str(folder / "bundle")).tag(texts)


@pytest.mark.parametrize("k", [0, -1, 2.5, "5", True])
def test_an_impossible_k_is_our_own_error(folder, k):
    with pytest.raises(SettingsError, match="k; "):
        load(str(folder / "bundle")).tag(["a"], k)


def test_no_text_is_no_document(folder):
    tagger = load(str(folder / "bundle"))
    assert len(tagger.tag([], 3)) == 0
    assert tagger.tag(("café7",), np.int64(3)).label_BK.shape == (1, 3)
