"""Encoders are loaded for texts that the label bank does not know, and for nothing else."""

import dataclasses
import json

import numpy as np
import pytest

from raytagger.bundle import load, open_bundle
from raytagger.corpus import read_labels
from raytagger.encoders import lazy_encoder, load_encoder, open_encoder, save_encoder
from raytagger.recipes.fit import fit
from raytagger.settings import EncoderSettings, LabelSettings, OutputSettings, SourceSettings
from raytagger.store import Store
from raytagger.stream.embed import fill_bank
from tests.tiny import tiny_decoder, tiny_encoder, tiny_run


@pytest.fixture
def loads(tmp_path, monkeypatch):
    """Says how often the encoder `counted` of tests/plugins was loaded since it was last asked."""
    log = tmp_path / "loads"
    monkeypatch.setenv("RAYTAGGER_LOADS", str(log))

    def since() -> int:
        count = len(log.read_text().splitlines()) if log.exists() else 0
        log.write_text("")
        return count

    return since


def test_a_training_loads_the_label_encoder_once_and_not_at_all_with_a_full_bank(tmp_path, loads):
    reader = tiny_encoder(tmp_path / "tiny")
    labels = LabelSettings(encoder="wordllama", kind="counted", bank=str(tmp_path / "bank"))
    run = dataclasses.replace(tiny_run(reader, str(tmp_path / "first"), max_steps=2), labels=labels)
    first = fit(run)
    assert (loads(), first.encoded_labels > 0) == (1, True)
    again = fit(dataclasses.replace(run, output=OutputSettings(str(tmp_path / "second"))))
    assert (loads(), again.encoded_labels) == (0, 0)
    manifest = open_bundle(again.bundle, Store()).manifest
    assert manifest["licences"]["wordllama"] == "mit"
    tagger = load(again.bundle, Store())
    assert loads() == 0
    tagger.with_labels(dataclasses.replace(tagger.labels, texts=[*tagger.labels.texts[:-1], "a new text"]))
    assert loads() == 1, "the bundle's own label encoder embeds a label to come"


def test_frozen_taggers_and_labels_embed_load_nothing_for_a_full_bank(tmp_path, loads):
    run = dataclasses.replace(
        tiny_run(EncoderSettings(kind="counted", path="wordllama"), str(tmp_path / "first")),
        method="frozen",
        labels=LabelSettings(bank=str(tmp_path / "bank")),
    )
    run = dataclasses.replace(run, source=SourceSettings(labels=run.source.labels))
    assert fill_bank(run).encoded > 0
    assert loads() == 1
    assert (fill_bank(run).encoded, fit(run).encoded_labels) == (0, 0)
    assert loads() == 0


@pytest.mark.parametrize("kind", ["transformer", "causal", "sentence-transformers", "static"])
def test_it_is_known_and_saved_without_being_loaded(tmp_path, kind):
    """Its bundle has the same content whether or not it was loaded meanwhile."""
    make = {"static": lambda _: EncoderSettings(path="wordllama"), "causal": tiny_decoder}.get(kind, tiny_encoder)
    settings = dataclasses.replace(make(tmp_path / "model"), kind=kind, max_tokens=16, device="cpu")

    def refuse():
        raise AssertionError("loaded")

    lazy, eager = lazy_encoder(settings, Store(), refuse), load_encoder(settings, Store())
    assert (lazy.identity, lazy.licence) == (eager.identity, eager.licence)
    save_encoder(lazy, settings, tmp_path / "saved")
    texts = ["bread and roses", ""]
    expected = eager.encode(texts, "p: ").vector_BD
    np.testing.assert_array_equal(open_encoder(tmp_path / "saved", "cpu").encode(texts, "p: ").vector_BD, expected)
    used = lazy_encoder(settings, Store())
    np.testing.assert_array_equal(used.encode(texts, "p: ").vector_BD, expected)
    save_encoder(used, settings, tmp_path / "again")
    assert content(tmp_path / "saved") == content(tmp_path / "again")
    assert not [path for path in content(tmp_path / "saved") if path.endswith((".bin", ".pkl"))]


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_kind_that_inherits_its_description_is_asked_itself(tmp_path):
    """A subclass may embed otherwise: what its parent says of the files does not tell."""
    encoder = lazy_encoder(EncoderSettings(kind="faulty", path="wordllama"), Store())
    assert type(encoder).__name__ == "FaultyEncoder"


def test_the_bank_keeps_the_licence_of_an_encoder(tmp_path, loads):
    labels = tmp_path / "labels.jsonl"
    labels.write_text(json.dumps({"id": "a", "text": "bread"}) + "\n")
    assert len(read_labels(Store(), str(labels))) == 1
    run = dataclasses.replace(
        tiny_run(tiny_encoder(tmp_path / "tiny"), str(tmp_path / "first")),
        method="frozen",
        source=SourceSettings(labels=str(labels)),
    )
    card = tmp_path / "tiny" / "README.md"
    card.write_text("---\nlicense: mit\n---\n")
    for place in ("first", "second"):
        fitted = fit(dataclasses.replace(run, output=OutputSettings(str(tmp_path / place))))
        licences = open_bundle(fitted.bundle, Store()).manifest["licences"]
        assert list(licences.values()) == ["mit"]
        card.unlink(missing_ok=True)  # as where the hub is out of reach later
