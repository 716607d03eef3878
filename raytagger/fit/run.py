"""The driver's side of a training: starts Ray Train's workers, shows how they get on, brings home the result."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from raytagger.cache import cache_folder
from raytagger.causes import own_error
from raytagger.encoders.transformer import pick_device
from raytagger.errors import CapacityError, SettingsError
from raytagger.fit.batches import sharing_evenly
from raytagger.fit.board import Board, reading
from raytagger.fit.checkpoint import STATE, parse_state, read_state, read_weights
from raytagger.fit.job import FitJob, Place
from raytagger.fit.loop import Clocks, Loop
from raytagger.fit.training import MakeTask, Trained, fetch_inputs
from raytagger.progress import Progress, silent, unsaid
from raytagger.settings import ClusterSettings
from raytagger.store import Store, is_s3

ATTEMPTS = 3  # after a worker's death, from the last checkpoint


def train(
    job: FitJob,
    make_task: MakeTask,
    uri: str,
    cluster: ClusterSettings,
    progress: Progress,
    say: Callable[[str], None],
) -> Trained:
    """Trains by Ray Train, on the connected Ray.

    A run of the same `uri` goes on from its last checkpoint; one that has ended is not trained again.

    Args:
        job: what to train.
        make_task: called in every worker.
        uri: a folder of this run alone; its name must change with whatever changes the result.
        cluster: workers and GPUs.
        progress: told of steps.
        say: gets the estimate and a line an evaluation.

    Raises:
        SettingsError: what the workers raised about the settings.
        CapacityError: training failed more often than it is tried again.
    """
    workers = count_workers(cluster, job.train.batch_size)
    board = Board.remote()
    folder, name = uri.rsplit("/", 1)
    filesystem, path = Store(job.storage).arrow(folder)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"job": job, "make_task": make_task, "board": board, "name": name},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=cluster.use_gpu),
        torch_config=TorchConfig(backend="nccl" if cluster.use_gpu else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=path,
            storage_filesystem=filesystem if is_s3(uri) else None,
            failure_config=FailureConfig(max_failures=ATTEMPTS),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    with reading(board, progress, say) as failures:
        try:
            result = trainer.fit()
        except Exception as error:
            raise failures[0] if failures else own_error(error) or _failed(error) from error
    if failures:
        raise failures[0]
    if result.checkpoint is None:
        raise CapacityError("training ended without a checkpoint", got=uri, remedy="Look at the workers' logs.")
    with result.checkpoint.as_directory() as kept:
        return Trained(read_weights(Path(kept)), read_state(Path(kept)), workers)


def count_workers(cluster: ClusterSettings, batch_size: int) -> int:
    """`cluster.workers`, else one a GPU or a CPU that the cluster has now, as many as share a step evenly."""
    if cluster.workers:
        return cluster.workers
    total = ray.cluster_resources()
    there = int(total.get("GPU" if cluster.use_gpu else "CPU", 0))
    if not cluster.use_gpu and sum(node["Alive"] for node in ray.nodes()) == 1:
        # Logical CPUs may be more than there are; workers beyond the real ones would only crowd each other.
        there = min(there, os.cpu_count() or 1)
    return sharing_evenly(batch_size, there)


def _failed(error: Exception) -> CapacityError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return CapacityError(
        f"training failed {ATTEMPTS + 1} times",
        got=lines[-1][:300],
        remedy="The same command goes on from the last checkpoint.",
    )


def _work(config: dict[str, Any]) -> None:
    """What every worker of Ray Train runs."""
    started = Clocks.now()
    job, board = config["job"], config["board"]
    if ray.get(board.failed.remote()):
        return
    place = _place(job)
    cache = cache_folder() / "training" / config["name"]
    kept = ray.train.get_checkpoint()
    if kept is not None and _has_ended(kept):
        # A task is not made: it would read the whole corpus through the layers that are frozen.
        _clear(cache, place)
        return
    first = place.rank == 0

    def tell(stage: str, done: int, total: int | None = None) -> None:
        board.write.remote("progress", stage, done, total)

    progress = tell if first else silent
    try:
        task = config["make_task"](job, place, fetch_inputs(job, place, cache), cache, progress)
    except SettingsError as error:
        ray.get(board.write.remote("failure", error))
        raise  # or the other workers would wait for this one; the next attempt ends at once
    loop = Loop(
        task,
        job.train,
        place,
        _report,
        progress,
        (lambda line: board.write.remote("say", line)) if first else unsaid,
        started,
    )
    if kept is not None:
        with kept.as_directory() as folder:
            loop.restore(Path(folder))
    loop.run()
    _clear(cache, place)


def _has_ended(kept: Checkpoint) -> bool:
    """By its smallest file: the others may be gigabytes."""
    assert kept.filesystem is not None, "a checkpoint that Ray gives knows where it lies"
    with kept.filesystem.open_input_file(f"{kept.path}/{STATE}") as file:
        return bool(parse_state(file.read()).outcome)


def _clear(cache: Path, place: Place) -> None:
    if place.local_rank == 0:
        shutil.rmtree(cache, ignore_errors=True)


def _place(job: FitJob) -> Place:
    context = ray.train.get_context()
    gpu = bool(ray.get_gpu_ids())
    wanted = job.encoder.device
    device = str(ray.train.torch.get_device()) if gpu else ("cpu" if wanted == "auto" else pick_device(wanted))
    return Place(
        context.get_world_rank(),
        context.get_world_size(),
        context.get_local_rank(),
        context.get_local_world_size(),
        device,
    )


def _report(figures: dict[str, Any], write: Callable[[Path], None]) -> None:
    """To Ray Train: a barrier of all workers, the checkpoint from the first."""
    if ray.train.get_context().get_world_rank():
        ray.train.report(figures)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        ray.train.report(figures, checkpoint=Checkpoint.from_directory(folder))
