"""A training whose second worker is killed at given steps, once at each."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

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
    """As `raytagger.recipes.ofde.make_task`; a death leaves a file named by its step in the folder `markers`."""

    die_at: tuple[int, ...]
    markers: str

    def __call__(self, job, place, inputs, cache) -> DyingTask:
        task = DyingTask(job, place, inputs, cache)
        task.die_at, task.markers = self.die_at, Path(self.markers)
        return task
