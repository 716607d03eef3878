"""Batches of texts alike in length: complete, within their budget, and with little padding."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from raytagger.encoders.batches import cheapest_batches, length_batches
from raytagger.fit.inputs import Ragged
from raytagger.fit.job import FitJob, Place
from raytagger.fit.onesided import OneSidedTask
from raytagger.progress import silent, unsaid
from raytagger.recipes.prepare import prepare, read_run_labels
from tests.tiny import tiny_encoder, tiny_run


def cheapest(length_B, budget):
    return cheapest_batches(length_B, budget, 10)


@pytest.mark.parametrize("cut", [length_batches, cheapest])
@pytest.mark.parametrize("budget", [1, 7, 30, 1000])
def test_batches_hold_every_text_once_within_the_budget(cut, budget):
    length_B = np.random.default_rng(0).integers(0, 20, 60)
    batches = cut(length_B, budget)
    assert sorted(np.concatenate(batches).tolist()) == list(range(60))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * length_B[rows].max() <= budget
    longest = [length_B[rows].max() for rows in batches]
    assert longest == sorted(longest, reverse=True)
    assert cut(np.zeros(0, np.int64), 5) == []


@pytest.mark.parametrize("pass_tokens", [0, 3, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_cut_costs_less(seed, pass_tokens):
    length_B = np.random.default_rng(seed).integers(1, 20, 9)
    sorted_B, budget = np.sort(length_B)[::-1], 60

    def cost(parts):
        return sum(pass_tokens + len(part) * max(part) for part in parts)

    cuts = (places for count in range(9) for places in combinations(range(1, 9), count))
    every = [np.split(sorted_B, places) for places in cuts]
    allowed = [parts for parts in every if all(len(part) * max(part) <= budget for part in parts)]
    found = [length_B[rows] for rows in cheapest_batches(length_B, budget, pass_tokens)]
    assert cost(found) == min(map(cost, allowed))


def test_one_long_label_text_does_not_pad_those_beside_it(tmp_path, minilm_folder, store):
    run = tiny_run(tiny_encoder(tmp_path / "tiny"), str(tmp_path / "out"), anchor=0.0)
    inputs = prepare(run, store, read_run_labels(run, store), silent, unsaid).inputs
    lengths = [64, *[5] * (len(inputs.labels) - 1)]
    inputs = dataclasses.replace(inputs, labels=Ragged.of([[101] * length for length in lengths]))
    job = FitJob("", run.encoder, run.train, run.storage, False, True)
    task = OneSidedTask(job, Place(), inputs, tmp_path)
    for step in range(len(lengths) // run.train.batch_size):
        (auxiliary,) = [part.auxiliary for part in task.steps(step, 1) if part.auxiliary]
        assert all(texts.mask_BT.all() for texts in auxiliary.texts)
        labels = [int(texts.mask_BT.sum()) for texts in auxiliary.texts]
        assert sum(labels) in (16 * 5, 15 * 5 + 64)
