"""OF-DE in this process: interrupted and taken up, and what a user of the bundle relies on."""

import dataclasses
import json
import shutil
import time

import numpy as np
import pytest
import torch

from raytagger.bundle import load, open_bundle
from raytagger.bundle.moments import moments_by_rank
from raytagger.evaluate import Asked, evaluate
from raytagger.fit.here import train_here
from raytagger.fit.job import FitJob
from raytagger.progress import silent, unsaid
from raytagger.recipes.fit import fit
from raytagger.recipes.ofde import make_task
from raytagger.recipes.prepare import prepare, read_run_labels
from raytagger.settings import OutputSettings, SearchSettings
from raytagger.store import Store, join
from tests.equal import assert_same_scores
from tests.tiny import UNGUARDED, tiny_encoder, tiny_run


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


def test_an_interrupted_training_goes_on_and_changes_nothing(encoder, tmp_path):
    run = tiny_run(encoder, str(tmp_path / "bundle"), frozen_layers=1, **UNGUARDED)
    made = prepare(run, Store(), read_run_labels(run, Store()), silent, unsaid)
    job = FitJob(made.uri, run.encoder, run.train, run.storage, False, True)
    stages, before = list[str](), time.process_time()
    uri = str(tmp_path / "undisturbed")
    undisturbed = train_here(job, make_task, uri, lambda stage, done, total=None: stages.append(stage), unsaid)
    assert undisturbed.state.cpu_s <= time.process_time() - before, "work before the training counts as its own"
    kept = ["documents through the frozen layers", "labels through the frozen layers"]
    assert list(dict.fromkeys(stages)) == [*kept, "documents before training", "training"]
    assert undisturbed.state.best_step  # not the weights that it began with
    uri, told = str(tmp_path / "interrupted"), list[tuple[str, int]]()

    def interrupt(stage, done, total=None):
        if stage == "training" and done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_here(job, make_task, uri, interrupt, unsaid)
    resumed = train_here(job, make_task, uri, lambda stage, done, total=None: told.append((stage, done)), unsaid)
    steps = [done for stage, done in told if stage == "training"]
    assert steps == [5, 6, 7, 8], "steps before the last checkpoint were taken again"
    for name, value in undisturbed.weights.items():
        torch.testing.assert_close(resumed.weights[name], value, rtol=0, atol=1e-6)
    losses = [trained.state.evaluations[-1]["loss"] for trained in (undisturbed, resumed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert len(list((tmp_path / "interrupted").iterdir())) == 2, "older checkpoints are kept"
    again = train_here(job, refuse, uri, silent, unsaid)
    assert again.state == resumed.state


def refuse(*_):
    raise AssertionError("a training that has ended makes no task")


def test_a_training_goes_on_where_it_and_what_it_reads_have_moved(encoder, tmp_path):
    """Its folder, the model and the label file."""
    run, steps = tiny_run(encoder, str(tmp_path / "here" / "bundle")), list[int]()

    def interrupt(stage, done, total=None):
        if stage == "training" and done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(run, interrupt)
    shutil.move(tmp_path / "here", tmp_path / "there")
    shutil.copytree(encoder.path, tmp_path / "model")
    shutil.copy(run.source.labels, tmp_path / "labels.jsonl")
    moved = dataclasses.replace(
        run,
        source=dataclasses.replace(run.source, labels=str(tmp_path / "labels.jsonl")),
        encoder=dataclasses.replace(encoder, path=str(tmp_path / "model")),
        output=OutputSettings(str(tmp_path / "there" / "bundle")),
    )
    fit(moved, lambda stage, done, total=None: steps.append(done) if stage == "training" else None)
    assert steps == [5, 6, 7, 8], "the training began anew"
    other = dataclasses.replace(moved, train=dataclasses.replace(moved.train, learning_rate=2e-3))
    steps.clear()
    fit(other, lambda stage, done, total=None: steps.append(done) if stage == "training" else None)
    assert steps[0] < 5, "another training took up this one"


@pytest.mark.s3
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
    features, label_J = (
        tagger.encode(["Kites on a beach", "Prune plums in high summer.", ""]),
        np.arange(len(labels)),
    )
    ranked = moments_by_rank(tagger.rank, features, label_J, len(labels))
    np.testing.assert_allclose(tagger.moments(features, label_J), ranked, atol=1e-5)
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


def test_an_index_over_trained_labels_is_measured_with_validation_documents(encoder, tmp_path):
    run = tiny_run(encoder, str(tmp_path / "bundle"), frozen_layers=1, max_steps=2)
    run = dataclasses.replace(run, search=SearchSettings(kind="dense", index="ivf"))
    opened = open_bundle(fit(run).bundle, Store())
    facts, log = opened.manifest["index"], json.loads((opened.folder / "training.json").read_text())
    assert (facts["queried"], facts["queries"]) == ("documents", log["validation_documents"])
    assert facts["recall@10"] > 0.5
