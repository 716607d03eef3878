"""Label texts into the bank: never encoded twice, and a text that cannot be encoded is named."""

import dataclasses
import json
import re
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raytagger.cli import app
from raytagger.corpus import read_labels
from raytagger.encoders import load_encoder
from raytagger.errors import CorpusError, SettingsError
from raytagger.recipes.fit import fit
from raytagger.settings import (
    ClusterSettings,
    EncoderSettings,
    FitRun,
    LabelSettings,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    StorageSettings,
)
from raytagger.store import Store
from raytagger.stream import embed, slabs
from raytagger.stream.embed import fill_bank
from raytagger.stream.here import Notes
from raytagger.stream.slabs import EmbedJob, Slab, SlabEmbedder
from tests.corpora import STATIC
from tests.endpoint import serving
from tests.processes import run

PROMPT = "Instruct: find the tags of a document. Query: "
FAULTY = dataclasses.replace(STATIC, kind="faulty")


@pytest.fixture(autouse=True)
def _small_slabs(monkeypatch):
    monkeypatch.setattr(slabs, "SLAB_TEXTS_AT_LEAST", 8)


def write_labels(folder, texts):
    ids = [f"l{row}" for row in range(len(texts))]
    pq.write_table(pa.table({"label_id": ids, "text": texts}), folder / "labels.parquet")
    return str(folder / "labels.parquet")


def bank_run(labels, bank, reader=STATIC, workers=1, **settings) -> FitRun:
    return FitRun(
        source=SourceSettings(labels=labels),
        encoder=reader,
        labels=LabelSettings(bank=bank, **settings),
        cluster=ClusterSettings(workers=workers),
    )


def texts_of(count, word="label"):
    return [f"{word} number {row} about sailing, bread or roses" for row in range(count)]


def rows_of(folder):
    """Keys of all files of a bank, with those that stand twice."""
    store = Store()
    return [key for entry in store.list(folder) for key in read_keys(store, entry)]


def read_keys(store, entry):
    with store.open(entry.uri) as file:
        return pq.read_table(file, columns=["key"])["key"].to_pylist()


def test_a_second_run_encodes_nothing_and_ten_new_labels_are_ten(tmp_path):
    bank = str(tmp_path / "bank")
    first = fill_bank(bank_run(write_labels(tmp_path, texts_of(40)), bank))
    files = Store().list(first.folder)
    assert fill_bank(bank_run(write_labels(tmp_path, texts_of(40)), bank)).encoded == 0
    assert Store().list(first.folder) == files
    more = fill_bank(bank_run(write_labels(tmp_path, [*texts_of(10, "new"), *texts_of(40)]), bank))
    assert (more.encoded, more.labels) == (10, 50)
    assert len(rows_of(first.folder)) == len(set(rows_of(first.folder))) == 50


def test_fit_finds_every_label_in_the_bank(tmp_path):
    run = dataclasses.replace(
        bank_run(write_labels(tmp_path, texts_of(20)), "", prompt=PROMPT),
        search=SearchSettings(kind="dense"),
        output=OutputSettings(str(tmp_path / "models" / "tagger")),
    )
    summary = fill_bank(run)
    assert summary.encoded == 20
    assert summary.folder.startswith(str(tmp_path / "models" / "bank"))
    assert fit(run).encoded_labels == 0
    labels = read_labels(Store(), run.source.labels)
    alone = load_encoder(STATIC, Store()).encode(labels.full_texts, PROMPT).vector_BD
    (matrix,) = (tmp_path / "models" / "tagger").rglob("label_LD.npy")
    np.testing.assert_array_equal(np.load(matrix).astype(np.float32), alone)


def test_an_interrupted_run_is_resumed_with_what_is_missing(tmp_path):
    run = bank_run(write_labels(tmp_path, texts_of(64)), str(tmp_path / "bank"))

    def interrupt(stage, done, total=None):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_bank(run, interrupt)
    (folder,) = (tmp_path / "bank").iterdir()
    stored = set(rows_of(str(folder)))
    assert 0 < len(stored) < 64
    resumed = fill_bank(run)
    assert resumed.encoded == 64 - len(stored)
    assert len(rows_of(str(folder))) == len(set(rows_of(str(folder)))) == 64


def test_a_label_that_an_endpoint_refuses_as_too_large_is_named(tmp_path):
    texts = [*texts_of(20), "long " * 200]
    with serving(load_encoder(STATIC, Store())) as endpoint:
        run = bank_run(write_labels(tmp_path, texts), str(tmp_path / "bank"), kind="http", encoder=endpoint.url)
        endpoint.refuse_large(8, 500, 413, "")
        with pytest.raises(CorpusError, match=r"1 label text cannot be encoded.*HTTP 413"):
            fill_bank(run)


def test_texts_that_cannot_be_encoded_are_named_and_all_others_stored(tmp_path):
    texts = texts_of(20)
    texts[4], texts[17] = "please RAISE", "a NAN"
    run = bank_run(write_labels(tmp_path, texts), str(tmp_path / "bank"), FAULTY)
    with pytest.raises(CorpusError, match="2 label texts cannot be encoded") as caught:
        fill_bank(run)
    assert "l4" in str(caught.value)
    assert "l17" in str(caught.value)
    mended = [*texts[:4], "mended", *texts[5:17], *texts[18:]]
    again = bank_run(write_labels(tmp_path, mended), str(tmp_path / "bank"), FAULTY)
    assert fill_bank(again).encoded == 1


def test_a_text_of_which_the_process_dies_is_named_when_the_command_is_run_again(tmp_path):
    texts = [*texts_of(7), "KILL", *texts_of(5, "other")]
    labels, bank = write_labels(tmp_path, texts), tmp_path / "bank"
    (tmp_path / "run.toml").write_text(
        f'[source]\nlabels = "{labels}"\n[labels]\nbank = "{bank}"\n'
        '[encoder]\nkind = "faulty"\npath = "wordllama"\n'
    )
    command = ["-m", "raytagger.cli", "labels", "embed", str(tmp_path / "run.toml")]
    assert [run(command)[0] for _ in range(2)] == [-signal.SIGKILL, -signal.SIGKILL]  # a slab, then its text
    code, _, error = run(command)
    assert code == 1
    assert re.search(r"1 label text .*l7.*died of it", error)
    (folder,) = (path for path in bank.iterdir() if not path.name.endswith(".begun"))
    assert len(rows_of(str(folder))) == 12


def test_texts_of_which_a_process_died_are_encoded_few_at_a_time_and_a_line_says_why(tmp_path):
    """As after any death: the slab that a killed process had begun need not hold a fatal text."""
    job = EmbedJob(STATIC, "", str(tmp_path / "bank"), StorageSettings(), "some")
    slab, notes = Slab("slab-some", texts_of(61)), Notes(Store(), str(tmp_path / "notes"))
    encoder, said, sizes = load_encoder(STATIC, Store()), [], []

    class Counting:
        """The encoder, which notes how many texts it gets."""

        def encode(self, texts, prompt=""):
            sizes.append(len(texts))
            return encoder.encode(texts, prompt)

    embedder = SlabEmbedder(job, Counting(), notes, said.append)
    notes.begin(slab.name)
    assert embedder.embed(slab) == (61, [])
    assert sizes == [32, 29]
    (line,) = said
    assert "a process died" in line
    assert "61 label texts" in line
    assert len(rows_of(str(tmp_path / "bank" / "some"))) == 61
    assert not list((tmp_path / "notes").iterdir())


def test_a_broken_encoder_ends_the_run_early(tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "MOST_BAD", 5)
    run = bank_run(write_labels(tmp_path, [f"RAISE {text}" for text in texts_of(90)]), str(tmp_path / "b"), FAULTY)
    with pytest.raises(CorpusError, match="given up"):
        fill_bank(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": SourceSettings()}, r"source\.labels is empty"),
        ({"labels": LabelSettings()}, r"labels\.bank is empty"),
        ({"encoder": EncoderSettings(path="/no-such/encoder")}, "cannot be loaded"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(tmp_path, change, message):
    run = bank_run(write_labels(tmp_path, ["one"]), str(tmp_path / "bank"))
    with pytest.raises(SettingsError, match=message) as caught:
        fill_bank(dataclasses.replace(run, **change))
    assert "Traceback" not in str(caught.value)


def test_the_command_line_prints_the_summary(tmp_path):
    (tmp_path / "run.toml").write_text('[encoder]\nkind = "static"\npath = "wordllama"\n')
    sets = {"source.labels": write_labels(tmp_path, texts_of(3)), "labels.bank": tmp_path / "bank"}
    options = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    command = ["labels", "embed", str(tmp_path / "run.toml"), *options]
    facts = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (facts["labels"], facts["texts"], facts["encoded"], facts["licence"]) == (3, 3, 3, "mit")
    assert "3 labels, 3 distinct texts, 0 encoded now" in CliRunner().invoke(app, command).stdout
