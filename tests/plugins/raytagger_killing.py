"""Trainings whose second worker fails: at first by itself, then killed at given steps; or is set up wrongly."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from raytagger.errors import CapacityError, SettingsError
from raytagger.fit.onesided import OneSidedTask


class DyingTask(OneSidedTask):
    """OF-DE, but the worker of rank 1 kills itself when it takes a step, unless a marker says that it has."""

    die_at, markers = (), Path()

    def steps(self, step, parts):
        # The first three steps are also gone through beforehand, to be timed: dying then is as good.
        marker = self.markers / str(step)
        if self.place.rank == 1 and step in self.die_at and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().steps(step, parts)


@dataclass(frozen=True)
class MakeDying:
    """As `raytagger.recipes.ofde.make_task`; failures leave files in the folder `markers`, deaths by their step."""

    die_at: tuple[int, ...]
    markers: str

    def __call__(self, job, place, inputs, cache, progress) -> DyingTask:
        marker = Path(self.markers) / "refused"
        if place.rank == 1 and not marker.exists():
            marker.touch()
            raise CapacityError("this machine is full")
        task = DyingTask(job, place, inputs, cache, progress)
        task.die_at, task.markers = self.die_at, Path(self.markers)
        return task


def make_wrong(job, place, inputs, cache, progress) -> OneSidedTask:
    """As `raytagger.recipes.ofde.make_task`, for a machine of which a setting is wrong while the other is fine."""
    if place.rank == 1:
        raise SettingsError("train.frozen_layers", got=7, expected="at most 2")
    return OneSidedTask(job, place, inputs, cache, progress)
