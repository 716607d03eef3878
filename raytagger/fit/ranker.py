"""The rankers of a level, a shard at a time: a task of Ray or a thread trains some chunks and stores their weights.

    level ── cut by work ──▶ shards ── train, store ──▶ read in order ──▶ weights

A shard's name is the fingerprint of all that decides its weights. Whatever dies, on whichever machine, a shard that
is stored is never trained again, and many machines store what one would.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from raytagger.causes import own_error
from raytagger.progress import Progress, silent, unsaid
from raytagger.schema import FloatArray
from raytagger.search.ranker import (
    SOLVER,
    ChunkWeights,
    Instances,
    LevelArrays,
    RankerSettings,
    cut_spans,
    train_chunks,
)
from raytagger.store import Store, absolute, at_once, join

SHARD_WORK = 5e8  # products of a pass over a shard's chunks: some ten seconds
SHARDS_AT_LEAST, LEAST_WORK = 64, 2e7  # smaller levels are shared too, but not in crumbs
TASKS_A_CPU = 2  # submitted at a time, so that no worker waits for its next


@dataclass(frozen=True)
class LevelWeights:
    """The rankers of a level.

    Attributes:
        weight: float32 CSC (V + 1, places); row V is the bias, its constant multiplied in.
        dense: float32 (places, E), or None where no dense features were given.
        shards: how many the level was cut into.
        found: how many of them an earlier run had stored.
    """

    weight: sp.csc_matrix
    dense: FloatArray | None
    shards: int
    found: int


def fit_level(
    doc_NV: sp.csr_matrix,
    doc_NE: FloatArray | None,
    gold: sp.csr_matrix,
    active: sp.spmatrix,
    offset: np.ndarray,
    settings: RankerSettings,
    store: Store,
    folder: str,
    *,
    cost: sp.csr_matrix | None = None,
    on_ray: bool = False,
    workers: int = 0,
    shard_work: float = SHARD_WORK,
    progress: Progress = silent,
    say: Callable[[str], None] = unsaid,
) -> LevelWeights:
    """Trains the rankers of a level; the weights are those of `train_level`, bit by bit.

    That holds among machines whose processors fuse products with sums, or among those that do not.

    Args:
        doc_NV: float32 CSR (N, V).
        doc_NE: float32 (N, E) or None.
        gold: bool CSR (N, places).
        active: bool, sparse (N, nodes above).
        offset: int64 (nodes above + 1,).
        settings: of the solver.
        store: that all workers reach.
        folder: where shards are kept; runs may share it.
        cost: CSR (N, places) with gold's entries, or None.
        on_ray: by tasks on the connected Ray; else by threads of this process.
        workers: shards at a time; 0: as many as the CPUs carry.
        shard_work: products that one pass over a shard takes at most; another value cuts other shards.
        progress: told of places.
        say: told what is found.

    Raises:
        CorpusError: see `Instances`.
        StoreError: shards cannot be read or written.
    """
    instances = Instances(doc_NV, gold, active, offset, doc_NE, cost)
    arrays = instances.arrays()
    spans = cut_level(arrays, shard_work)
    uris = [join(absolute(folder), name) for name in name_shards(arrays, spans, settings)]
    missing = [number for number, there in enumerate(at_once(store.exists, uris)) if not there]
    say(f"rankers: {len(arrays.offset) - 1:,} chunks in {len(spans)} shards, {len(spans) - len(missing)} found")
    shards = [(spans[number], uris[number]) for number in missing]
    trained = (_train_on_ray if on_ray else _train_here)(Shards(arrays, settings, store, shards), workers)
    done, total = 0, sum(_places(arrays, span) for span, _ in shards)
    progress("rankers", 0, total)
    for span in trained:
        done += _places(arrays, span)
        progress("rankers", done, total)
    weights = ChunkWeights.join(at_once(lambda uri: read_shard(store, uri), uris))
    dense = None if doc_NE is None else weights.dense_PE
    return LevelWeights(weights.matrix(), dense, len(spans), len(spans) - len(missing))


def cut_level(arrays: LevelArrays, shard_work: float = SHARD_WORK) -> list[range]:
    """Shards of about equal work; they depend on the level alone, so that another cluster finds them."""
    work = arrays.work()
    return cut_spans(work, min(shard_work, max(work.sum() / SHARDS_AT_LEAST, LEAST_WORK)))


def name_shards(arrays: LevelArrays, spans: Sequence[range], settings: RankerSettings) -> list[str]:
    """File names that change with whatever changes the shards' weights."""
    digest = hashlib.sha256(json.dumps([SOLVER, asdict(settings), arrays.features]).encode())
    chunks = arrays.chunk_offset, arrays.chunk_doc, arrays.chunk_active, arrays.offset
    for array in (*arrays.documents, arrays.doc_NE, *arrays.gold, *chunks):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return [f"{digest.hexdigest()[:32]}-{span.start}-{span.stop}.npz" for span in spans]


def read_shard(store: Store, uri: str) -> ChunkWeights:
    """A stored shard."""
    with np.load(io.BytesIO(store.read_bytes(uri)), allow_pickle=False) as arrays:
        return ChunkWeights(**{**arrays, "features": int(arrays["features"])})


def write_shard(store: Store, uri: str, weights: ChunkWeights) -> None:
    """Stores a shard, at once or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **vars(weights))
    store.write_bytes(uri, buffer.getvalue())


@dataclass(frozen=True)
class Shards:
    """What is to be trained: chunks of a level, and where their weights go."""

    arrays: LevelArrays
    settings: RankerSettings
    store: Store
    shards: list[tuple[range, str]]


def _train_here(level: Shards, workers: int) -> Iterator[range]:
    """The spans of shards, each when it is stored. The kernels leave Python's lock to the other threads."""
    arrays, settings, store = level.arrays, level.settings, level.store
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        yield from pool.map(lambda shard: _train_shard(arrays, shard[0], shard[1], settings, store), level.shards)


def _train_on_ray(level: Shards, workers: int) -> Iterator[range]:
    """The spans of shards, each when it is stored."""
    import ray
    from ray.exceptions import RayError

    waiting, running = list(reversed(level.shards)), dict[Any, range]()
    if not waiting:
        return
    task, shared = ray.remote(num_cpus=1)(_train_shard), ray.put(level.arrays)
    at_a_time = workers or TASKS_A_CPU * max(int(ray.cluster_resources().get("CPU", 1)), 1)
    while waiting or running:
        while waiting and len(running) < at_a_time:
            span, uri = waiting.pop()
            running[task.remote(shared, span, uri, level.settings, level.store)] = span
        ended, _ = ray.wait(list(running))
        try:
            ray.get(ended)
        except RayError as error:
            cause = own_error(error)
            if cause is None:
                raise
            raise cause from None
        yield from (running.pop(done) for done in ended)


def _train_shard(arrays: LevelArrays, span: range, uri: str, settings: RankerSettings, store: Store) -> range:
    write_shard(store, uri, train_chunks(arrays, span, settings))
    return span


def _places(arrays: LevelArrays, span: range) -> int:
    return int(arrays.offset[span.stop] - arrays.offset[span.start])
