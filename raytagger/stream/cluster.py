"""The cluster that a run works on: a connection, what its workers take, and errors as a person reads them."""

from __future__ import annotations

import logging
import os
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
READERS, READER_CPUS = 2, 0.5
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
    except (RayError, SystemException) as error:
        cause = own_error(error)
        if cause is not None:
            raise cause from None
        if not isinstance(error, ActorDiedError | WorkerCrashedError | OutOfMemoryError):
            raise
        raise BundleError(no_worker, got=last_line(error), remedy="Try `raytagger doctor`.") from error
