"""OF-DE by Ray Train on two workers, its checkpoints in object storage; workers are really killed."""

import dataclasses
import json
import os

import numpy as np
import pytest
import torch
from raytagger_killing import MakeDying

import raytagger.recipes.ofde
from raytagger.bundle import load, open_bundle
from raytagger.errors import SettingsError
from raytagger.evaluate import Asked, evaluate
from raytagger.fit.job import FitJob
from raytagger.fit.run import Trained, run_uri, train
from raytagger.progress import silent, unsaid
from raytagger.recipes.fit import fit
from raytagger.recipes.ofde import make_task
from raytagger.recipes.prepare import prepare, read_run_labels
from raytagger.settings import ClusterSettings
from raytagger.store import Store, join
from tests.equal import assert_same_scores
from tests.tiny import tiny_encoder, tiny_run

pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.usefixtures("ray_head")]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def prepared(encoder, s3):
    """The inputs of all trainings here, in object storage."""
    run = tiny_run(encoder, f"s3://raytagger-tests/train-{encoder.path[-4:].strip('/')}/bundle", workers=2)
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
    """Killed before any checkpoint, and again between the checkpoint of step 4 and the end."""
    trained = train_with(prepared, "killed", MakeDying((0, 6), str(tmp_path)))
    assert {path.name for path in tmp_path.iterdir()} == {"0", "6"}
    assert trained.state.step == undisturbed.state.step == 8
    for name, value in undisturbed.weights.items():
        torch.testing.assert_close(trained.weights[name], value, rtol=0, atol=1e-6)


def test_labels_shared_by_workers_train_the_same_weights(prepared, undisturbed):
    sharded = train_with(prepared, "sharded", make_task, shard_labels=True)
    losses = [[entry["loss"] for entry in trained.state.evaluations[1:]] for trained in (undisturbed, sharded)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_what_is_wrong_in_a_worker_is_told_at_once(prepared):
    with pytest.raises(SettingsError, match=r"train.frozen_layers; got 7"):
        train_with(prepared, "wrong", make_task, 1, frozen_layers=7)


def test_places_may_be_relative(encoder, tmp_path, monkeypatch):
    """As in the shipped run files; every worker of Ray Train has a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    beside = dataclasses.replace(encoder, path=os.path.relpath(encoder.path))
    fitted = fit(tiny_run(beside, "models/ofde", max_steps=2, evaluations=1))
    assert load("models/ofde").bundle_id == fitted.version


def test_a_fitted_bundle_tags_evaluates_and_takes_new_labels(encoder, bucket):
    run = tiny_run(encoder, join(bucket, "ofde"), workers=1, frozen_layers=1)
    said = []
    fitted = fit(run, say=said.append)
    assert any(line.startswith("training: ") for line in said)
    opened = open_bundle(run.output.bundle, Store())
    log = json.loads((opened.folder / "training.json").read_text())
    assert (log["workers"], log["steps"]) == (1, 8)
    tagger = load(run.output.bundle)
    figures = evaluate(tagger, Store(), run.source, Asked())
    assert figures["nDCG@5"] is not None
    assert opened.manifest["kind"] == "dense"
    assert fitted.trained_labels == len(opened.manifest["trained_labels"])
    # A training that has ended is not trained again: the log, with the seconds that it took, is the same.
    assert fit(run).version == fitted.version
    labels = tagger.labels
    more = dataclasses.replace(
        labels,
        ids=(*labels.ids, "new"),
        titles=(*labels.titles, "Kites"),
        texts=(*labels.texts, "Flying kites on a beach in the wind"),
        parents=(*labels.parents, ()),
        status=(*labels.status, "active"),
        seen=None,
    )
    newer = tagger.with_labels(more)
    text = "Flying kites on a beach in the wind"
    assert newer.search(newer.encode([text]), len(more)).label_BK.shape == (1, len(more))
    old = tagger.search(tagger.encode([text]), len(labels))
    kept = newer.search(newer.encode([text]), len(labels), _without_last(len(more)))
    assert_same_scores(kept, old)


def _without_last(count):
    return np.arange(count) < count - 1


def test_the_recipe_is_on_one_screen():
    """A reader of the paper finds the stages in the order that they run."""
    text = raytagger.recipes.ofde.__doc__ or ""
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("prepare", "train ", "publish"))] == [
        "prepare",
        "train",
        "publish",
    ]
