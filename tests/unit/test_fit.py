"""Training without Ray: batches, inputs, the loop, checkpoints, the guard."""

import dataclasses
import json
import re
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raytagger.errors import CapacityError, CorpusError, SettingsError
from raytagger.fit.batches import make_batches, sharing_evenly
from raytagger.fit.checkpoint import read_state, read_weights, trained_weights
from raytagger.fit.estimate import Estimate, planned_steps
from raytagger.fit.guard import Measured, choose_mixture, measure, mix, spread
from raytagger.fit.inputs import Inputs, Ragged, hide_labels, part_documents
from raytagger.fit.job import FitJob, Place
from raytagger.fit.loop import Clocks, Loop
from raytagger.fit.onesided import OneSidedTask, build_module, project
from raytagger.fit.schedule import rate_share
from raytagger.progress import silent, unsaid
from raytagger.recipes.ofde import fit_ofde
from raytagger.recipes.prepare import prepare, read_run_labels
from tests.tiny import UNGUARDED, tiny_encoder, tiny_run

# batches


@given(rows=st.integers(1, 200), size=st.integers(1, 40), workers=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_an_epoch_reads_every_row_once_whoever_reads_it(rows, size, workers, seed):
    size *= workers
    if rows < workers:
        with pytest.raises(SettingsError, match="fewer texts"):
            make_batches(rows, size, workers, seed)
        return
    batches = make_batches(rows, size, workers, seed)
    steps = range(batches.steps_an_epoch)
    read = np.concatenate([batches.of_worker(step, rank) for step in steps for rank in range(workers)])
    assert len(set(read)) == len(read) == batches.steps_an_epoch * batches.size
    assert len(read) > rows - batches.size
    again = make_batches(rows, size, workers, seed)
    assert (again.step(batches.steps_an_epoch) == batches.step(batches.steps_an_epoch)).all()


@pytest.mark.parametrize(("rows", "workers"), [(1, 2), (3, 8), (5, 4)])
def test_of_fewer_rows_than_workers_each_is_read_by_one(rows, workers):
    batches = make_batches(rows, 8, workers, 0, or_none=True)
    read = np.concatenate([batches.of_worker(0, rank) for rank in range(workers)])
    assert len(set(read)) == len(read) == batches.size == rows - batches.odd


def test_a_batch_that_workers_cannot_share_is_refused():
    with pytest.raises(SettingsError, match="multiple of 3"):
        make_batches(100, 16, 3, 0)


@pytest.mark.parametrize(("size", "most", "workers"), [(64, 2, 2), (64, 3, 2), (64, 12, 8), (7, 6, 1), (64, 0, 1)])
def test_workers_that_are_not_named_share_a_batch_evenly(size, most, workers):
    assert sharing_evenly(size, most) == workers


def test_the_rate_is_that_of_transformers():
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_linear_schedule_with_warmup(optimizer, 0, 50)
    for step in range(50):
        assert rate_share(step, 50, 0.0) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    rising = [rate_share(step, 100, 0.1) for step in range(100)]
    assert rising[:11] == sorted(rising[:11])
    assert rising[10:] == sorted(rising[10:], reverse=True)
    assert max(rising) == 1.0
    assert min(rising) > 0


# inputs


def gold_example(seed=0, documents=200, labels=30):
    rng = np.random.default_rng(seed)
    share = np.linspace(0.01, 0.3, labels)
    return sp.csr_matrix(rng.random((documents, labels)) < share)


def test_hidden_labels_are_rare_and_take_few_documents():
    gold, usable = gold_example(), np.ones(30, bool)
    train = np.arange(150)
    hidden = hide_labels(gold, train, usable, 0.2, seed=3)
    count = np.asarray(gold[train].sum(0)).ravel()
    assert 0 < hidden.sum() <= 6
    assert (count[hidden] <= np.median(count[count > 0])).all()
    assert (count[hidden] >= 3).all()
    assert (np.asarray(gold[train][:, hidden].sum(1)).ravel() > 0).sum() <= 0.05 * len(train)
    assert (hide_labels(gold, train, usable, 0.2, seed=3) == hidden).all()
    assert not hide_labels(gold, train, usable, 0.0, seed=3).any()


def test_labels_of_one_document_do_not_say_what_is_rare():
    """Most have one: the median of all would leave none to hide."""
    count_L = np.array([1] * 50 + [3, 3, 4, 30, 40])
    rows = np.concatenate([np.arange(count) * 9 + place for place, count in enumerate(count_L)])
    columns = np.repeat(np.arange(len(count_L)), count_L)
    gold = sp.csr_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(500, len(count_L)))
    hidden_L = hide_labels(gold, np.arange(500), np.ones(len(count_L), bool), 0.05, seed=0)
    assert hidden_L.sum() == 3
    assert set(np.flatnonzero(hidden_L)) == {50, 51, 52}


def test_no_document_that_is_trained_on_has_a_hidden_label():
    gold, usable = gold_example(), np.ones(30, bool)
    hidden = hide_labels(gold, np.arange(150), usable, 0.2, seed=3)
    train, validation, held = part_documents(gold, np.arange(150), np.arange(150, 200), hidden, usable, 0)
    has_hidden = np.asarray(gold[:, hidden].sum(1)).ravel() > 0
    has_seen = np.asarray(gold[:, ~hidden].sum(1)).ravel() > 0
    assert set(train) == set(np.flatnonzero(~has_hidden & has_seen) & 0xFFFF) & set(range(150))
    assert set(held) == set(np.flatnonzero(has_hidden))
    assert set(validation) == set(np.flatnonzero(has_seen)) & set(range(150, 200))


def test_a_corpus_without_known_labels_cannot_be_trained_on():
    gold = sp.csr_matrix((5, 3), dtype=bool)
    with pytest.raises(CorpusError, match="no document to train on"):
        part_documents(gold, np.arange(5), np.arange(0), np.zeros(3, bool), np.ones(3, bool), 0)


@given(st.lists(st.lists(st.integers(0, 99), max_size=6), max_size=8))
@settings(max_examples=40, deadline=None)
def test_ragged_rows_come_back(rows):
    ragged = Ragged.of(rows)
    assert [ragged.row(place).tolist() for place in range(len(ragged))] == rows
    assert ragged.length.tolist() == [len(row) for row in rows]


# the guard


def test_spread_is_its_slow_loop():
    label_LD = torch.nn.functional.normalize(torch.randn(20, 6), dim=1).numpy()
    found = spread(label_LD)
    pairs = [float(a @ b) for i, a in enumerate(label_LD) for j, b in enumerate(label_LD) if i != j]
    assert found is not None
    assert found["mean_cosine"] == pytest.approx(np.mean(pairs), abs=1e-5)
    assert 1 <= found["effective_rank"] <= 6
    assert spread(np.eye(6, dtype=np.float32))["effective_rank"] == pytest.approx(6)
    collapsed = spread(np.tile(label_LD[:1], (5, 1)))
    assert collapsed["mean_cosine"] == pytest.approx(1, abs=1e-5)
    assert collapsed["effective_rank"] == pytest.approx(1, abs=1e-5)
    assert spread(label_LD[:1]) is None


def test_figures_are_those_of_the_metrics():
    doc = np.eye(3, dtype=np.float32)
    label = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    gold = sp.csr_matrix(np.array([[1, 0, 0, 0], [0, 1, 0, 0]], bool))
    held = sp.csr_matrix(np.array([[0, 0, 0, 1]], bool))
    hidden = np.array([False, False, False, True])
    found = measure(doc[:2], gold, doc[2:], held, label, hidden, np.ones(4, bool))
    assert found.ndcg == pytest.approx(1)
    assert (found.zsr, found.ur) == (pytest.approx(1), pytest.approx(1))
    nothing = measure(doc[:0], gold[:0], doc[:0], held[:0], label, hidden, np.ones(4, bool))
    assert nothing == (None, None, None)
    assert nothing.balance == 0


def test_the_mixture_with_the_best_balance_is_chosen():
    best, points = choose_mixture(lambda mixture: Measured(mixture, 1 - mixture**2, 0.5))
    assert best == 0.5
    assert [point["mixture"] for point in points] == [round(0.1 * tenth, 1) for tenth in range(1, 11)]
    assert choose_mixture(lambda mixture: Measured(0.5, 0.5, 0.5))[0] == 1.0


@given(st.floats(0, 1))
def test_mixed_weights_lie_on_the_line(mixture):
    start, end = {"a": torch.tensor([0.0, 2.0])}, {"a": torch.tensor([1.0, -2.0])}
    torch.testing.assert_close(mix(start, end, mixture)["a"], torch.tensor([mixture, 2 - 4 * mixture]))


# the estimate


def test_steps_are_planned_within_the_cpu_seconds_allowed():
    assert planned_steps(100, 0, 50, 1, 1) == 100
    assert planned_steps(100, 60, 20, 2, 10) == 15
    assert planned_steps(100, 1, 20, 2, 10) == 1
    line = Estimate(1000, 3.6, 0, 1, 16, 2, 30.0).line()
    assert "60 min" in line
    assert "60.00 at 30.00 a node and hour on 2" in line


# the loop, in one process


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, minilm_folder):
    del minilm_folder  # skips where there is no tokenizer
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def make_loop(encoder, tmp_path_factory):
    """Loops over the small corpus; give it keys of `train`."""
    from raytagger.store import Store

    store, out = Store(), str(tmp_path_factory.mktemp("loop") / "out")

    def make(report=lambda figures, write: None, say=unsaid, **train):
        run = tiny_run(encoder, out, **train)
        prepared = prepare(run, store, read_run_labels(run, store), silent, unsaid)
        job = FitJob(prepared.uri, run.encoder, run.train, run.storage, False, True)
        task = OneSidedTask(job, Place(), prepared.inputs, tmp_path_factory.mktemp("cache"))
        return Loop(task, run.train, Place(), report, silent, say, Clocks.now()), task

    return make


@pytest.mark.slow
def test_one_long_label_takes_the_memory_of_one(encoder, tmp_path, store):
    run = tiny_run(encoder, str(tmp_path / "out"))
    labels = read_run_labels(run, store)
    texts = ("word " * 400_000, *labels.texts[1:-1], labels.texts[1])
    labels = dataclasses.replace(labels, texts=texts, titles=("",) * len(texts))
    tracemalloc.start()
    inputs = prepare(run, store, labels, silent, unsaid).inputs
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000_000
    assert inputs.twin_L[-1] == inputs.twin_L[1]
    assert len(set(inputs.twin_L.tolist())) == len(set(labels.full_texts))


def test_label_texts_are_read_where_workers_are_more_than_labels(encoder, tmp_path, store):
    workers = 64
    run = tiny_run(encoder, str(tmp_path / "out"), batch_size=workers, anchor=0.0)
    inputs = prepare(run, store, read_run_labels(run, store), silent, unsaid).inputs
    labels = int(inputs.usable_L.sum())
    assert labels < workers
    job = FitJob(str(tmp_path), run.encoder, run.train, run.storage, False, True)
    task, read = OneSidedTask(job, Place(workers=workers), inputs, tmp_path), 0
    for rank in range(workers):
        task.place = dataclasses.replace(task.place, rank=rank)
        for step in task.steps(0, 1):
            if step.auxiliary is not None:
                read += step.auxiliary.gold.shape[0]
                assert step.auxiliary.share == 1 / labels
    assert read == labels
    sharded = dataclasses.replace(job, train=dataclasses.replace(run.train, shard_labels=True))
    with pytest.raises(SettingsError, match=rf"fewer labels than workers.*{labels} labels, {workers} workers"):
        OneSidedTask(sharded, Place(workers=workers), inputs, tmp_path)


def test_a_training_says_which_documents_it_leaves_out(encoder, tmp_path):
    said, run = [], tiny_run(encoder, str(tmp_path / "out"), pseudo_unseen=0.2, batch_size=48, max_steps=1)
    fit_ofde(run, say=said.append)
    (story,) = [line for line in said if "left out" in line]
    trained, hidden, untrained, odd, texts = (
        int(re.search(rf"([0-9]+) {what}", story)[1])
        for what in (
            "training documents, ",
            "training documents that have a hidden label",
            "without a trained label",
            "documents and",
            "label texts",
        )
    )
    lines = map(json.loads, Path(run.source.documents).read_text(encoding="utf-8").splitlines())
    labels = len(Path(run.source.labels).read_text(encoding="utf-8").splitlines())
    assert trained + hidden + untrained == sum(line["split"] == "train" for line in lines)
    assert hidden > 0
    assert (odd, texts) == (trained % 48, labels % min(48, labels))


def weights_of(task):
    return torch.cat([value.flatten() for value in trained_weights(task.module).values()])


def keeping(folder, stop_at=None):
    """Keeps every checkpoint in a folder; raises after the one at step `stop_at`, as if the worker were killed."""

    def report(figures, write):
        kept = folder / f"{figures['step']:04d}"
        kept.mkdir(exist_ok=True)
        write(kept)
        if figures["step"] == stop_at:
            raise InterruptedError

    return report


@pytest.mark.slow
def test_training_lowers_the_loss_and_logs_what_the_report_reads(make_loop):
    lines = []
    loop, _ = make_loop(say=lines.append, max_steps=0, epochs=3, evaluations=3)
    state = loop.run()
    losses = [entry["loss"] for entry in state.evaluations]
    assert losses[0] is None
    assert losses[-1] < losses[1]
    assert state.evaluations[0]["step"] == 0
    assert state.evaluations[-1]["step"] == state.steps == state.step
    for entry in state.evaluations:
        assert 0 <= entry["nDCG@5"] <= 1
        assert entry["spread"]["seen"]["effective_rank"] > 1
        assert entry["spread"]["unseen"] is not None
    assert state.outcome["mode"] == "average"
    assert state.outcome["mixture"] in {point["mixture"] for point in state.outcome["points"]}
    assert "training: " in lines[0]
    assert state.cpu_s > 0


@pytest.mark.slow
@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_a_resumed_training_equals_an_undisturbed_one(make_loop, tmp_path, frozen_layers):
    loop, task = make_loop(report=keeping(tmp_path), frozen_layers=frozen_layers, **UNGUARDED)
    loop.run()
    undisturbed = weights_of(task)
    assert loop.state.best_step  # not the weights that it began with
    loss = loop.state.evaluations[-1]["loss"]
    loop, _ = make_loop(report=keeping(tmp_path, stop_at=4), frozen_layers=frozen_layers, **UNGUARDED)
    with pytest.raises(InterruptedError):
        loop.run()
    loop, task = make_loop(frozen_layers=frozen_layers, **UNGUARDED)
    loop.restore(tmp_path / "0004")
    assert loop.state.step == 4
    loop.run()
    torch.testing.assert_close(weights_of(task), undisturbed, rtol=0, atol=1e-7)
    assert loop.state.evaluations[-1]["loss"] == pytest.approx(loss, rel=1e-6)
    loop, task = make_loop(frozen_layers=frozen_layers, **UNGUARDED)
    loop.restore(tmp_path / "0008")  # ended: nothing is trained
    loop.run()
    torch.testing.assert_close(weights_of(task), undisturbed, rtol=0, atol=1e-7)


@pytest.mark.slow
def test_another_seed_trains_otherwise(make_loop):
    results = []
    for seed in (0, 0, 1):
        loop, task = make_loop(seed=seed, pseudo_unseen=0.0)
        loop.run()
        results.append(weights_of(task))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert not torch.allclose(results[0], results[2])


def test_a_step_cut_into_parts_is_the_same_step(make_loop):
    """Without dropout, which draws by part."""
    gradients = []
    for tokens in (10_000, 40):
        loop, task = make_loop(batch_tokens=tokens)
        for module in task.module.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        loop._backward(0)
        gradients.append(torch.cat([v.grad.flatten() for v in task.module.parameters() if v.grad is not None]))
        assert (len(list(task.steps(0, 1))) > 3) is (tokens == 40)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_frozen_layers_give_what_the_whole_model_gives(make_loop):
    """Cached activations change nothing but the layers that learn."""
    vectors = []
    for frozen_layers in (0, 1):
        _, task = make_loop(frozen_layers=frozen_layers)
        vectors.append(task._encode(task._used()[:20]))
    assert vectors[0] == pytest.approx(vectors[1], abs=5e-3)
    trained = {name for name in trained_weights(task.module) if "layer" in name}
    assert trained
    assert all(".layer.0." in name for name in trained)  # the upper of two, counted anew


@pytest.mark.slow
def test_training_stops_when_the_validation_no_longer_gains(make_loop):
    loop, _ = make_loop(learning_rate=0.0, projection_rate=0.0, evaluations=8, patience=2, guard="off")
    state = loop.run()
    assert state.stopped == "no better nDCG@5 for 2 evaluations"
    assert state.step == 2
    assert state.outcome["stopped_at"] == 2


@pytest.mark.slow
def test_the_guard_stops_when_the_balance_falls(make_loop, monkeypatch):
    loop, task = make_loop(guard="stop", evaluations=8)
    falling = iter(Measured(0.5 + 0.01 * step, 0.9 - 0.1 * step, 0.5) for step in range(99))
    monkeypatch.setattr(task, "measure", lambda: next(falling))
    state = loop.run()
    assert state.stopped.startswith("no better balance")
    assert state.step < state.steps
    assert state.best_step == 0


@pytest.mark.slow
def test_average_puts_the_mixed_weights_in(make_loop, monkeypatch):
    loop, task = make_loop(guard="average")
    start = trained_weights(task.module)
    real = task.measure
    seen = []

    def measured():
        seen.append(trained_weights(task.module))
        return Measured(0.5, 0.9 if len(seen) == 5 else 0.1, 0.5) if loop.state.step == 8 else real()

    monkeypatch.setattr(task, "measure", measured)
    state = loop.run()
    end, mixture = loop._best, state.outcome["mixture"]
    assert 0 < mixture <= 1
    for name, value in trained_weights(task.module).items():
        torch.testing.assert_close(value, torch.lerp(start[name], end[name], mixture))


def test_a_loss_that_is_not_finite_ends_the_training(make_loop):
    loop, task = make_loop()
    with torch.no_grad():
        task.module.projection.weight.fill_(float("nan"))
    loop.state.steps = 1
    with pytest.raises(CapacityError, match=r"not finite at step 0.*learning_rate"):
        loop.run()


@pytest.mark.slow
def test_a_checkpoint_is_plain_data(make_loop, tmp_path):
    loop, task = make_loop(report=keeping(tmp_path))
    loop.run()
    folder = sorted(tmp_path.iterdir())[-1]
    assert {path.name for path in folder.iterdir()} == {
        "best.safetensors",
        "model.safetensors",
        "optimizer.pt",
        "state.json",
    }
    torch.load(folder / "optimizer.pt", weights_only=True)
    assert dataclasses.asdict(read_state(folder)) == json.loads((folder / "state.json").read_text())
    kept = read_weights(folder)
    for name, value in trained_weights(task.module).items():
        torch.testing.assert_close(value, kept[name])


@pytest.mark.slow
def test_it_is_said_where_no_label_can_be_hidden(encoder, tmp_path):
    said = []
    fit_ofde(
        tiny_run(encoder, str(tmp_path / "out"), max_steps=1, evaluations=1, pseudo_unseen=1e-4), say=said.append
    )
    assert any("warning: no label could be hidden" in line and "train.guard is off" in line for line in said)


@pytest.mark.slow
def test_inputs_are_made_once(encoder, tmp_path, store):
    run = tiny_run(encoder, str(tmp_path / "out"))
    labels = read_run_labels(run, store)
    first = prepare(run, store, labels, silent, unsaid)
    said = []
    again = prepare(run, store, labels, silent, said.append)
    assert again.uri == first.uri
    assert "prepared already" in said[0]
    assert again.report.as_dict() == first.report.as_dict()
    assert again.report.n_documents == 470
    assert len(again.trained_hashes) == again.report.splits["train"]
    # What is left of a label where documents with hidden ones are not trained on, perhaps nothing.
    left_L = np.asarray(first.inputs.gold[first.inputs.train_N].sum(0)).ravel()
    np.testing.assert_array_equal(first.inputs.count_L, left_L)
    assert not (first.inputs.trained_L & first.inputs.hidden_L).any()
    assert (again.inputs.label_LE == first.inputs.label_LE).all()
    other = prepare(
        dataclasses.replace(run, train=dataclasses.replace(run.train, seed=1)), store, labels, silent, unsaid
    )
    assert other.uri != first.uri
    folder = tmp_path / "copy"
    first.inputs.save(folder)
    loaded = Inputs.load(folder)
    for name, value in vars(first.inputs).items():
        if isinstance(value, np.ndarray):
            assert (np.asarray(getattr(loaded, name)) == value).all(), name
    assert (loaded.gold != first.inputs.gold).nnz == 0


@pytest.mark.slow
def test_inputs_are_made_anew_where_an_encoder_of_the_same_path_has_other_weights(encoder, tmp_path, store):
    shutil.copytree(encoder.path, tmp_path / "encoder")
    run = tiny_run(dataclasses.replace(encoder, path=str(tmp_path / "encoder")), str(tmp_path / "out"))
    labels = read_run_labels(run, store)
    first = prepare(run, store, labels, silent, unsaid)
    (weights,) = (tmp_path / "encoder").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-4:] = b"\0\0\0\0"
    weights.write_bytes(content)
    assert prepare(run, store, labels, silent, unsaid).uri != first.uri


@pytest.mark.slow
def test_unseen_labels_are_negatives_and_auxiliary_only_where_the_switches_say(make_loop, encoder, tmp_path, store):
    run = tiny_run(encoder, str(tmp_path / "out"))
    inputs = prepare(run, store, read_run_labels(run, store), silent, unsaid).inputs
    untrained = np.flatnonzero(inputs.usable_L & ~inputs.trained_L)
    assert len(untrained)
    for negatives in (False, True):
        for auxiliary in (False, True):
            job = FitJob("", run.encoder, run.train, run.storage, negatives, auxiliary)
            _, module = build_module(job, Place(), inputs)
            side = module._side
            assert bool(np.isin(untrained, side.main_M.numpy()).all()) is negatives
            assert bool(np.isin(untrained, side.auxiliary_A.numpy()).all()) is auxiliary
            assert bool(len(side.anchor_J)) is auxiliary
    assert project(module, inputs).shape == (len(inputs.count_L), 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guard": "pray"}, "off, stop, average"),
        ({"loss": "hinge"}, "decoupled, softmax, bce"),
        ({"temperature": 0.0}, "more than 0"),
        ({"epochs": 0}, "1 or more"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_read(encoder, tmp_path, change, message):
    with pytest.raises(SettingsError, match=message):
        fit_ofde(tiny_run(encoder, str(tmp_path / "out"), **change))


def test_an_encoder_without_layers_cannot_be_trained(tmp_path, encoder):
    run = tiny_run(dataclasses.replace(encoder, kind="static", path="wordllama"), str(tmp_path / "out"))
    with pytest.raises(SettingsError, match="cannot be trained"):
        fit_ofde(run)


def test_too_many_frozen_layers_are_refused(make_loop):
    with pytest.raises(SettingsError, match=r"train.frozen_layers; got 2; expected 0 to 1"):
        make_loop(frozen_layers=2)
