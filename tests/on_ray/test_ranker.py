"""Rankers by Ray tasks or threads: the weights of one process, whatever is killed, and no shard trained twice."""

import contextlib
import dataclasses
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import ray
import scipy.sparse as sp

from raytagger.errors import StoreError
from raytagger.fit.ranker import fit_level
from raytagger.search.ranker import Instances, RankerSettings, train_chunks, train_level
from raytagger.settings import ClusterSettings
from raytagger.store import Store, join
from raytagger.stream.cluster import connected
from tests.processes import command_of, descendants, kill_driver, start, wait_until

pytestmark = [pytest.mark.s3, pytest.mark.usefixtures("ray_head")]

V, CHUNKS = 200, 12
SLOW = RankerSettings(eps=1e-30, max_passes=8_000)  # never near enough: some tenths of a second a chunk
DRIVER = "import sys; from tests.on_ray.test_ranker import drive; drive(sys.argv[1])"


def make_level(dense=0):
    rng = np.random.default_rng(0)
    doc_NV = sp.random(240, V, 0.1, "csr", np.float32, random_state=rng)
    gold = sp.csr_matrix(rng.random((240, 8 * CHUNKS)) < 0.1)
    active = sp.csc_matrix(rng.random((240, CHUNKS)) < 0.5)
    doc_NE = rng.normal(size=(240, dense)).astype(np.float32) if dense else None
    return Instances(doc_NV, gold, active, np.arange(CHUNKS + 1) * 8, doc_NE)


def fit(level, settings, folder, **options):
    return fit_level(
        level.doc_NV,
        level.doc_NE,
        level.gold,
        level.active,
        level.offset,
        settings,
        Store(),
        folder,
        cost=level.cost,
        on_ray=options.pop("on_ray", True),
        shard_work=options.pop("shard_work", 1.0),
        **options,
    )


def drive(folder):
    """What the driver that is killed does."""
    with connected(ClusterSettings()):
        fit(make_level(), SLOW, folder)


def assert_same(fitted, level, settings):
    alone = train_level(level, settings)
    expected = alone.matrix()
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(fitted.weight, name), getattr(expected, name))
    if level.doc_NE is None:
        assert fitted.dense is None
    else:
        np.testing.assert_array_equal(fitted.dense, alone.dense_PE)


@pytest.mark.parametrize("on_ray", [True, False])
@pytest.mark.parametrize("dense", [0, 7])
def test_many_tasks_or_threads_give_the_weights_of_one_process(bucket, dense, on_ray):
    level, said, told = make_level(dense), [], []
    folder = join(bucket, "ranker")
    fitted = fit(
        level,
        RankerSettings(),
        folder,
        say=said.append,
        progress=lambda *seen: told.append(seen),
        workers=2,
        on_ray=on_ray,
    )
    assert (fitted.shards, fitted.found) == (CHUNKS, 0)
    assert_same(fitted, level, RankerSettings())
    assert said == ["rankers: 12 chunks in 12 shards, 0 found"]
    assert told[0] == ("rankers", 0, 96)
    assert told[-1] == ("rankers", 96, 96)
    again = fit(level, RankerSettings(), folder, say=said.append)
    assert said[1] == "rankers: 12 chunks in 12 shards, 12 found"
    assert_same(again, level, RankerSettings())


def test_a_shard_is_found_by_all_that_decides_its_weights_and_by_nothing_else(tmp_path):
    level, usual = make_level(), RankerSettings()
    cost = sp.csr_matrix(level.gold, dtype=np.float32)
    cost.data[0] = 2
    doc_NV = level.doc_NV.copy()
    doc_NV.data[5] += 1
    fit(level, usual, str(tmp_path))
    shuffled = dataclasses.replace(level, active=level.active.tocoo())
    assert fit(shuffled, usual, str(tmp_path)).found == CHUNKS
    for changed in ({"cost": cost}, {"doc_NV": doc_NV}, {"active": level.active[:, ::-1]}):
        assert fit(dataclasses.replace(level, **changed), usual, str(tmp_path)).found == 0
    assert fit(level, dataclasses.replace(usual, seed=1), str(tmp_path)).found == 0


def test_a_large_level_is_cut_by_work_and_a_small_one_is_one_shard(tmp_path):
    level = make_level()
    whole = fit(level, RankerSettings(), str(tmp_path), shard_work=5e8)
    assert whole.shards == 1
    assert_same(whole, level, RankerSettings())
    halves = fit(level, RankerSettings(), str(tmp_path), shard_work=level.arrays().work().sum() / 2)
    assert (halves.shards, halves.found) in {(2, 0), (3, 0)}
    assert_same(halves, level, RankerSettings())


def test_a_killed_driver_is_resumed(tmp_path):
    folder = tmp_path / "shards"
    process = start(["-c", DRIVER, str(folder)])
    wait_until(lambda: len(shards_of(folder)) >= 2, process=process)
    kill_driver(process, workers_too=True)
    stored = shards_of(folder)
    assert 2 <= len(stored) < CHUNKS
    fitted = fit(make_level(), SLOW, str(folder))
    assert (fitted.shards, fitted.found) == (CHUNKS, len(stored))
    assert_same(fitted, make_level(), SLOW)
    after = shards_of(folder)
    assert len(after) == CHUNKS
    assert {name: after[name] for name in stored} == stored, "a stored shard was trained again"


def shards_of(folder: Path):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.npz")}


def test_a_killed_worker_changes_nothing(tmp_path):
    found = []
    fitting = threading.Thread(target=lambda: found.append(fit(make_level(), SLOW, str(tmp_path))))
    fitting.start()
    wait_until(training_processes)
    killed = 0
    for pid in training_processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    fitting.join()
    assert killed
    assert_same(found[0], make_level(), SLOW)


def training_processes():
    return [pid for pid in descendants(os.getpid()) if command_of(pid).startswith("ray::_train_shard")]


def test_what_fails_in_a_task_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="storage failed at"):
        fit(make_level(), RankerSettings(), str(tmp_path / "file"))


@pytest.mark.parametrize("dense", [0, 4])
def test_workers_compile_the_kernel_no_second_time(dense):
    @ray.remote
    def count(arrays):
        from raytagger.search import ranker  # a function that travels would bring a kernel of its own

        ranker.train_chunks(arrays, range(2), RankerSettings())
        kernel = ranker.train_chunk
        return len(kernel.signatures), sum(kernel.stats.cache_misses.values())

    arrays = make_level(dense).arrays()
    train_chunks(arrays, range(2), RankerSettings())  # compiles into the cache, where nobody has
    assert ray.get(count.remote(ray.put(arrays))) == (1, 0)
