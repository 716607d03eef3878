"""The cluster that a run works on: a connection, what its workers take, and errors as a person reads them."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.data
from ray.data.exceptions import SystemException
from ray.exceptions import ActorDiedError, AuthenticationError, OutOfMemoryError, RayError, WorkerCrashedError

from raytagger.causes import explain, is_verbose, last_line, own_error
from raytagger.errors import BundleError, CapacityError
from raytagger.settings import ClusterSettings
from raytagger.stream.address import check_address

LOCAL_CPUS_AT_LEAST = 4  # logical: readers and workers must be able to stand beside each other on a small machine
READERS = 2
# What is left of each CPU is for readers, which wait for storage most of the time: workers never keep them all out.
WORKER_CPUS, READER_CPUS = 0.99, 0.005
IN_FLIGHT = 2  # units that a worker holds: the next one is there when it has done the first
STARTS, LATE = 4, "timed out during startup"


@contextmanager
def connected(cluster: ClusterSettings) -> Iterator[None]:
    """A connection to Ray: the one there is, the one at `cluster.address`, or one started for the block.

    Ray tells of itself only where `RAYTAGGER_VERBOSE` is set.

    Raises:
        SettingsError: the address is none of a Ray, or the cluster asks for a token.
        CapacityError: no Ray answers there.
    """
    if ray.is_initialized():
        yield
        return
    # `local`: without it Ray would join whatever head someone has started on this machine.
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    check_address(address)
    _start(address)
    try:
        yield
    finally:
        ray.shutdown()


def _start(address: str) -> None:
    verbose = is_verbose()
    options: dict[str, Any] = {"log_to_driver": verbose, "logging_level": "INFO" if verbose else "CRITICAL"}
    if address == "local":
        options |= {"num_cpus": max(os.cpu_count() or 1, LOCAL_CPUS_AT_LEAST), "include_dashboard": False}
        # Ray's own 15 lets workers starve beside anything else that runs.
        os.environ.setdefault("RAY_worker_niceness", "0")
    if not verbose:
        for handler in logging.getLogger("ray.data").handlers:
            if isinstance(handler, logging.StreamHandler):  # the file of its session is kept
                handler.setLevel(logging.CRITICAL)
    try:
        _init(address, options)
    except Exception as error:  # Ray raises that very class, too
        ray.shutdown()
        if isinstance(error, AuthenticationError):
            raise explain(error) from error
        what, got = f"Ray cannot be started or joined ({address})", " ".join(str(error).split())
        raise CapacityError(what, got=got, remedy="`raytagger doctor` checks Ray.") from error


def _init(address: str, options: dict[str, Any]) -> None:
    """`ray.init`, again where a new Ray has not come up in the 30 s that it gives itself: the machine is busy."""
    for attempt in range(STARTS):
        try:
            ray.init(address=address, **options)
            return
        except Exception as error:
            if LATE not in str(error) or attempt + 1 == STARTS:
                raise
            ray.shutdown()


@contextmanager
def one_row_blocks() -> Iterator[None]:
    """One unit a block, so that a unit is tagged as soon as it is read and a block never outgrows it.

    Errors come as they were raised: what Ray Data wraps them in loses their cause between processes.
    """
    context = ray.data.DataContext.get_current()
    wanted = {"target_max_block_size": 1, "enable_progress_bars": False, "raise_original_map_exception": True}
    before = {name: getattr(context, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(context, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)


def share_out(cluster: ClusterSettings) -> tuple[int, dict[str, Any]]:
    """How many workers there are, and what each takes, which is the same on every cluster.

    There are `cluster.workers`, or as many as the cluster carries as it is now, one at least.
    """
    total = ray.cluster_resources()
    if cluster.use_gpu:
        return cluster.workers or max(int(total.get("GPU", 0)), 1), {"num_gpus": 1}
    cpus = int(total.get("CPU", 0))
    if len([node for node in ray.nodes() if node["Alive"]]) == 1:
        # Logical CPUs may be more than there are; workers beyond the real ones would only crowd each other.
        cpus = min(cpus, os.cpu_count() or 1)
    return cluster.workers or max(cpus, 1), {"num_cpus": WORKER_CPUS}


def worker_pool(cluster: ClusterSettings, most: int | None = None) -> ray.data.ActorPoolStrategy:
    """As many workers as are named; or those that the cluster carries now, and more where it grows.

    A cluster that scales with its load may have no CPU at all before it has work.

    Args:
        cluster: of the run.
        most: workers that there is work for.
    """
    now = min(share_out(cluster)[0], most or sys.maxsize)
    if cluster.workers:
        return ray.data.ActorPoolStrategy(size=now, max_tasks_in_flight_per_actor=IN_FLIGHT)
    return ray.data.ActorPoolStrategy(
        min_size=1, initial_size=now, max_size=most, max_tasks_in_flight_per_actor=IN_FLIGHT
    )


@contextmanager
def own_errors(no_worker: str) -> Iterator[None]:
    """Our own error instead of the one that Ray wraps it in.

    Args:
        no_worker: what to say where the workers die before their first batch.
    """
    try:
        yield
    except (RayError, SystemException) as error:
        cause = own_error(error)
        if cause is not None:
            raise cause from None
        if not isinstance(error, ActorDiedError | WorkerCrashedError | OutOfMemoryError):
            raise
        raise BundleError(no_worker, got=last_line(error), remedy="Try `raytagger doctor`.") from error
