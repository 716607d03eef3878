"""What a training is, wherever it runs: the task it is given, the inputs a worker fetches, and what it makes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch.distributed

from raytagger.fit.checkpoint import State, Weights
from raytagger.fit.inputs import Inputs
from raytagger.fit.job import FitJob, Place
from raytagger.fit.loop import Task
from raytagger.progress import Progress
from raytagger.store import Store, is_s3, join

MakeTask = Callable[[FitJob, Place, Inputs, Path, Progress], Task]


@dataclass(frozen=True)
class Trained:
    """What a training made: the chosen weights by name, and its state with the log of evaluations."""

    weights: Weights
    state: State
    workers: int


def run_uri(bundle: str, key: str, where: int | str) -> str:
    """Where a run's checkpoints lie: beside the bundle's versions, named by what decides the result.

    Args:
        bundle: the run's output.
        key: changes with whatever the result depends on.
        where: how many workers of Ray train, or "here": the two keep their checkpoints differently.
    """
    return join(bundle, "training", f"{key}-{where}")


def fetch_inputs(job: FitJob, place: Place, cache: Path) -> Inputs:
    """The inputs as local files: where they are, or downloaded once a node."""
    if not is_s3(job.inputs):
        return Inputs.load(Path(job.inputs))
    folder = cache / "inputs"
    if place.local_rank == 0 and not folder.is_dir():
        arriving = Path(tempfile.mkdtemp(dir=_made(cache)))
        Store(job.storage).download(job.inputs, arriving)
        arriving.rename(folder)
    if place.workers > 1:
        torch.distributed.barrier()
    return Inputs.load(folder)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
