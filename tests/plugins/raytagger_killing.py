"""A training whose second worker is killed once, at a given step."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from raytagger.fit.onesided import OneSidedTask


class DyingTask(OneSidedTask):
    """OF-DE, but the worker of rank 1 kills itself when it takes a step, unless the marker says that it has."""

    die_at, marker = -1, Path()

    def steps(self, step, parts):
        # The first three steps are also gone through beforehand, to be timed: dying then is as good.
        if self.place.rank == 1 and step == self.die_at and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().steps(step, parts)


@dataclass(frozen=True)
class MakeDying:
    """As `raytagger.recipes.ofde.make_task`."""

    die_at: int
    marker: str

    def __call__(self, job, place, inputs, cache) -> DyingTask:
        task = DyingTask(job, place, inputs, cache)
        task.die_at, task.marker = self.die_at, Path(self.marker)
        return task
