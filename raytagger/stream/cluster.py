"""The cluster that a run works on: a connection, what its workers take, and errors as a person reads them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

from raytagger.errors import BundleError, RaytaggerError
from raytagger.settings import ClusterSettings

LOCAL_CPUS_AT_LEAST = 4  # logical: readers and workers must be able to stand beside each other on a small machine
READERS, READER_CPUS = 2, 0.5


@contextmanager
def connected(cluster: ClusterSettings) -> Iterator[None]:
    """A connection to Ray: the one there is, the one at `cluster.address`, or one started for the block."""
    if ray.is_initialized():
        yield
        return
    # `local`: without it Ray would join whatever head someone has started on this machine.
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"num_cpus": max(os.cpu_count() or 1, LOCAL_CPUS_AT_LEAST), "include_dashboard": False}
    options: dict[str, Any] = own if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def one_row_blocks() -> Iterator[None]:
    """One unit a block, so that a unit is tagged as soon as it is read and a block never outgrows it."""
    context = ray.data.DataContext.get_current()
    before = context.target_max_block_size, context.enable_progress_bars
    context.target_max_block_size, context.enable_progress_bars = 1, False
    try:
        yield
    finally:
        context.target_max_block_size, context.enable_progress_bars = before


def share_out(cluster: ClusterSettings) -> tuple[int, dict[str, Any]]:
    """How many workers, and what each takes; a reader must always find room beside them."""
    total = ray.cluster_resources()
    if cluster.use_gpu:
        return cluster.workers or max(int(total.get("GPU", 0)), 1), {"num_gpus": 1}
    cpus = total.get("CPU", 1.0)
    alone = len([node for node in ray.nodes() if node["Alive"]]) == 1
    # Logical CPUs may be more than there are; workers beyond the real ones would only crowd each other.
    workers = cluster.workers or max(int(min(cpus, os.cpu_count() or 1) if alone else cpus), 1)
    return workers, {"num_cpus": min(1.0, (cpus - READER_CPUS) / workers)}


@contextmanager
def own_errors(no_worker: str) -> Iterator[None]:
    """Our own error instead of the one that Ray wraps it in.

    Args:
        no_worker: what to say where the workers die before their first batch.
    """
    try:
        yield
    except RayTaskError as error:
        cause = _own_cause(error)
        if cause is None:
            raise
        raise cause from None
    except (ActorDiedError, WorkerCrashedError, OutOfMemoryError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise BundleError(no_worker, got=reason, remedy="Try `raytagger doctor`.") from error


def _own_cause(error: BaseException | None) -> RaytaggerError | None:
    """Our own error inside what Ray raises, which says what happened better than a remote traceback."""
    while error is not None:
        # Ray also raises a class that is both its own and ours, and reads like a traceback.
        if isinstance(error, RaytaggerError) and not isinstance(error, RayTaskError):
            return error
        error = getattr(error, "cause", None) or error.__cause__
    return None
