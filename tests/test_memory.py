"""Trainings whose memory ends: a step is cut into more parts, by all workers alike, and gives the same.

The memory's end is injected where it would come from: in a pass through the module, as PyTorch's own error.
"""

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from raytagger.errors import CapacityError
from raytagger.fit.checkpoint import trained_weights
from raytagger.fit.inputs import Inputs
from raytagger.fit.job import FitJob, Place
from raytagger.fit.loop import Clocks, Loop
from raytagger.fit.onesided import OneSidedTask
from raytagger.progress import silent, unsaid
from raytagger.recipes.prepare import prepare, read_run_labels
from raytagger.store import Store
from tests.tiny import UNGUARDED, tiny_encoder, tiny_run

LIMIT = 3  # texts that fit the memory, where it is short
MIDST = 8  # passes before that; the longest step, two to be timed and the two that are taken have ten or more


class ShortTask(OneSidedTask):
    """OF-DE without dropout; from a pass on, the memory of one worker holds `LIMIT` texts at once."""

    def __init__(self, *parts, short_from=0, short_rank=0, backward=False) -> None:
        super().__init__(*parts)
        for module in self.module.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        self.passes, self.short_from = 0, short_from
        if self.place.rank == short_rank:
            if backward:
                self.module.register_forward_hook(self._look_back)
            else:
                self.module.register_forward_pre_hook(self._look)

    def _look_back(self, module, given, loss):
        loss.register_hook(lambda gradient: self._look(module, given))

    def _look(self, module, given):
        self.passes += 1
        step = given[0]
        texts = sum(len(one.gold.indptr) - 1 for one in (step.documents, step.auxiliary) if one)
        if self.passes > self.short_from and texts > LIMIT:
            raise torch.OutOfMemoryError("injected")


def train(job, place, inputs, cache, **short):
    task = ShortTask(job, place, inputs, cache, **short)
    said = []
    loop = Loop(task, job.train, place, lambda figures, write: None, silent, said.append, Clocks.now())
    return loop.run(), trained_weights(task.module), said


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function from settings of the training to a job and its inputs."""
    folder = tmp_path_factory.mktemp("memory")
    encoder = tiny_encoder(folder / "tiny")

    def make(**settings):
        settings = UNGUARDED | {"max_steps": 2, "evaluations": 1, "anchor": 0.0, "batch_tokens": 256} | settings
        run = tiny_run(encoder, str(folder / "out"), **settings)
        prepared = prepare(run, Store(), read_run_labels(run, Store()), silent, unsaid)
        return FitJob(prepared.uri, run.encoder, run.train, run.storage, False, True), prepared.inputs

    return make


def assert_same(some, other):
    for name, value in other.items():
        torch.testing.assert_close(some[name], value, rtol=1e-3, atol=2e-5, msg=name)


def test_memory_that_ends_cuts_steps_into_parts_and_changes_nothing(made, tmp_path):
    job, inputs = made()
    undisturbed, weights, _ = train(job, Place(), inputs, tmp_path, short_rank=-1)
    assert undisturbed.parts == 1
    assert undisturbed.best_step  # not the weights that all begin with
    for short_from in (0, MIDST):  # before training, and in the midst of it
        state, found, said = train(job, Place(), inputs, tmp_path, short_from=short_from)
        assert state.parts > 1
        assert state.step == undisturbed.step
        assert any(f"train.batch_tokens / {state.parts}" in line for line in said)
        assert_same(found, weights)


def test_a_text_that_never_fits_ends_the_training(made, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_memory.LIMIT", 0)
    job, inputs = made()
    with pytest.raises(CapacityError, match="a single document of the longest does not fit"):
        train(job, Place(), inputs, tmp_path)


def one_of_two(rank, folder, jobs):
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.set_num_threads(1)
    results = []
    for place, (job, short) in enumerate(jobs):
        (cache := folder / f"{rank}-{place}").mkdir()
        inputs = Inputs.load(folder.__class__(job.inputs))
        at = Place(rank, 2, rank, 2)
        state, weights, _ = train(job, at, inputs, cache, short_rank=1, **short)
        results.append((state.parts, weights))
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_memory_that_ends_for_one_of_two_workers_cuts_the_steps_of_both(made, tmp_path):
    """Before training and in its midst; also where workers share the labels, and wait for each other in a pass."""
    (job, inputs), (sharded, _) = made(), made(shard_labels=True)
    _, weights, _ = train(job, Place(), inputs, tmp_path, short_rank=-1)
    ends = [{"short_from": 0}, {"short_from": MIDST}, {"short_from": MIDST, "backward": True}]
    jobs = [(one, end) for one in (job, sharded) for end in ends]
    torch.multiprocessing.spawn(one_of_two, (tmp_path, jobs), nprocs=2)
    for one, other in zip(*(torch.load(tmp_path / f"{rank}.pt") for rank in range(2)), strict=True):
        assert one[0] == other[0] > 1
        assert_same(one[1], weights)
        assert_same(other[1], weights)
