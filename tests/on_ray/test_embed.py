"""Label texts into the bank by a pool of Ray's workers: equal to one process, whatever is killed."""

import os
import signal

import numpy as np
import pytest

from raytagger.encoders import load_encoder
from raytagger.errors import CorpusError
from raytagger.labels import LabelBank
from raytagger.store import Store, join
from raytagger.stream import slabs
from raytagger.stream.embed import fill_bank
from tests.processes import command_of, descendants
from tests.test_embed import FAULTY, PROMPT, bank_run, rows_of, texts_of, write_labels
from tests.tiny import tiny_decoder

pytestmark = pytest.mark.usefixtures("ray_head")

CLOSE = 1e-3  # what float16 leaves of a unit vector


@pytest.fixture(autouse=True)
def _small_slabs(monkeypatch):
    monkeypatch.setattr(slabs, "SLAB_TEXTS_AT_LEAST", 8)


def nothing_to_encode(texts):
    raise AssertionError(f"asked for {texts}")


@pytest.mark.s3
def test_a_causal_encoder_on_many_workers_equals_one_process(bucket, tmp_path):
    decoder = tiny_decoder(tmp_path / "decoder")
    texts = [*texts_of(30), "label number 3 about sailing, bread or roses", " ".join(["long"] * 40)]
    settings = {"encoder": decoder.path, "kind": "causal", "max_tokens": 48, "prompt": PROMPT}
    run = bank_run(write_labels(tmp_path, texts), join(bucket, "bank"), workers=2, **settings)
    told = []
    summary = fill_bank(run, lambda stage, done, total=None: told.append((stage, done, total)))
    assert (summary.labels, summary.texts, summary.encoded) == (32, 31, 31)
    assert told[0] == ("label bank", 0, 31)
    assert told[-1] == ("label bank", 31, 31)
    store, encoder = Store(), load_encoder(run.label_encoder, Store())
    assert summary.folder == join(bucket, "bank", encoder.identity)
    prompted = [PROMPT + text for text in texts]
    banked = LabelBank(store, join(bucket, "bank")).embed(prompted, encoder.identity, nothing_to_encode)
    alone = LabelBank(store, join(bucket, "alone")).embed(
        prompted, encoder.identity, lambda slab: encoder.encode(slab).vector_BD
    )
    np.testing.assert_allclose(banked.vector_LD, alone.vector_LD, atol=CLOSE)
    assert len(rows_of(summary.folder)) == 31


def test_a_worker_that_is_killed_loses_at_most_its_slab(tmp_path):
    texts = [f"SLOW {text}" for text in texts_of(96)]
    run = bank_run(write_labels(tmp_path, texts), str(tmp_path / "bank"), FAULTY, workers=2)
    killed = []

    def kill_one(stage, done, total=None):
        workers = [pid for pid in descendants(os.getpid()) if "EmbedStage" in command_of(pid)]
        if done and not killed and workers:
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    summary = fill_bank(run, kill_one)
    assert killed
    assert summary.encoded == 96
    assert len(rows_of(summary.folder)) == len(set(rows_of(summary.folder))) == 96
    assert fill_bank(run).encoded == 0


def test_a_text_that_kills_its_process_is_named(tmp_path):
    texts = [*texts_of(7), "KILL", *texts_of(5, "other")]
    run = bank_run(write_labels(tmp_path, texts), str(tmp_path / "bank"), FAULTY, workers=1)
    with pytest.raises(CorpusError, match=r"1 label text .*l7.*died of it"):
        fill_bank(run)
    (folder,) = (tmp_path / "bank").iterdir()
    assert len(rows_of(str(folder))) == 12
