"""OF-DE by Ray Train on two workers, its checkpoints in object storage; workers are really killed."""

import dataclasses
import os

import numpy as np
import pytest
import torch
from raytagger_killing import MakeDying, make_wrong

import raytagger.recipes.ofde
from raytagger.bundle import load
from raytagger.bundle.dense import DenseTagger
from raytagger.encoders.transformer import TransformerEncoder
from raytagger.errors import SettingsError
from raytagger.fit.checkpoint import set_weights
from raytagger.fit.here import train_here
from raytagger.fit.job import FitJob, Place
from raytagger.fit.onesided import build_module, project
from raytagger.fit.run import train
from raytagger.fit.training import Trained, run_uri
from raytagger.progress import silent, unsaid
from raytagger.recipes.fit import fit
from raytagger.recipes.ofde import make_task
from raytagger.recipes.prepare import prepare, read_run_labels
from raytagger.settings import ClusterSettings
from raytagger.store import Store
from tests.equal import CLOSE
from tests.tiny import UNGUARDED, tiny_encoder, tiny_run

pytestmark = [pytest.mark.s3, pytest.mark.usefixtures("ray_head")]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def prepared(encoder, s3):
    """The inputs of all trainings here, in object storage."""
    out = f"s3://raytagger-tests/train-{encoder.path[-4:].strip('/')}/bundle"
    run = tiny_run(encoder, out, workers=2, **UNGUARDED)
    return run, prepare(run, Store(), read_run_labels(run, Store()), silent, unsaid)


def train_with(prepared, name, maker, workers=2, **change) -> Trained:
    run, made = prepared
    settings = dataclasses.replace(run.train, **change)
    job = FitJob(made.uri, run.encoder, settings, run.storage, False, True)
    return train(
        job, maker, run_uri(run.output.bundle, name, workers), ClusterSettings(workers=workers), silent, unsaid
    )


@pytest.fixture(scope="module")
def undisturbed(prepared):
    return train_with(prepared, "undisturbed", make_task)


def test_killed_workers_change_nothing(prepared, undisturbed, tmp_path):
    """One that fails by itself, is killed before any checkpoint, and again between that of step 4 and the end."""
    trained = train_with(prepared, "killed", MakeDying((0, 6), str(tmp_path)))
    assert {path.name for path in tmp_path.iterdir()} == {"refused", "0", "6"}
    assert trained.state.step == undisturbed.state.step == 8
    assert_same_weights(trained, undisturbed, 1e-6)


def test_a_training_that_has_ended_makes_no_task(prepared, undisturbed):
    again = train_with(prepared, "undisturbed", make_wrong)
    assert again.state == undisturbed.state
    assert_same_weights(again, undisturbed, 0)


def test_labels_shared_by_workers_train_the_same_weights(prepared, undisturbed):
    assert_same_weights(train_with(prepared, "sharded", make_task, shard_labels=True), undisturbed, CLOSE)


def assert_same_weights(found, expected, within):
    """The best ones of both, not those that they began with; and the same losses up to the end."""
    assert found.state.best_step == expected.state.best_step > 0
    losses = [[entry["loss"] for entry in trained.state.evaluations[1:]] for trained in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for name, value in expected.weights.items():
        torch.testing.assert_close(found.weights[name], value, rtol=0, atol=within, msg=name)


def test_what_is_wrong_in_one_worker_ends_all(prepared):
    with pytest.raises(SettingsError, match=r"train.frozen_layers; got 7"):
        train_with(prepared, "wrong", make_wrong)


def test_one_worker_trains_what_this_process_trains(encoder, tmp_path, monkeypatch):
    """From relative places, as run files have them; Ray Train gives each worker a directory of its own."""
    monkeypatch.chdir(tmp_path)
    run = tiny_run(dataclasses.replace(encoder, path=os.path.relpath(encoder.path)), "models/ofde")
    fitted = fit(run)
    tagger = load("models/ofde")
    assert isinstance(tagger, DenseTagger)
    assert isinstance(tagger.encoder, TransformerEncoder)
    assert tagger.bundle_id == fitted.version
    made = prepare(run, Store(), read_run_labels(run, Store()), silent, unsaid)
    job = FitJob(made.uri, run.encoder, run.train, run.storage, False, True)
    here = train_here(job, make_task, run_uri(run.output.bundle, "one", "here"), silent, unsaid)
    assert here.state.step == 8
    alone, module = build_module(job, Place(), made.inputs)
    set_weights(module, here.weights)
    np.testing.assert_allclose(tagger.dense.label_LD, project(module, made.inputs), atol=1e-3)  # are float16
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(tagger.encoder.model.state_dict()[name], value, rtol=0, atol=1e-6)


def test_the_recipe_is_on_one_screen():
    """A reader of the paper finds the stages in the order that they run."""
    text = raytagger.recipes.ofde.__doc__ or ""
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("prepare", "train ", "publish"))] == [
        "prepare",
        "train",
        "publish",
    ]
