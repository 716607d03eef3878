"""What a training will take, told before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """Time and cost of a training, from steps that were timed on its own longest batch.

    Attributes:
        steps: of the whole training.
        step_s: seconds of one step.
        evaluation_s: seconds of one evaluation.
        evaluations: how many there will be.
        workers: training processes.
        nodes: machines they are on.
        price_node_hour: of one machine.
    """

    steps: int
    step_s: float
    evaluation_s: float
    evaluations: int
    workers: int
    nodes: int
    price_node_hour: float

    @property
    def seconds(self) -> float:
        """Of the whole training."""
        return self.steps * self.step_s + self.evaluations * self.evaluation_s

    def line(self) -> str:
        """For a person."""
        text = (
            f"training: {self.steps:,} steps of about {self.step_s:.2f} s and {self.evaluations} evaluations of "
            f"about {self.evaluation_s:.1f} s on {self.workers} worker{'s' * (self.workers > 1)}: "
            f"about {_duration(self.seconds)}"
        )
        if not self.price_node_hour:
            return text
        cost = self.nodes * self.price_node_hour * self.seconds / 3600
        return f"{text}, about {cost:,.2f} at {self.price_node_hour:,.2f} a node and hour on {self.nodes}"


def planned_steps(
    wanted: int, max_cpu_s: float, spent_cpu_s: float, step_cpu_s: float, evaluations_cpu_s: float
) -> int:
    """How many of the steps fit the CPU seconds that are allowed; all where there is no limit, one at least.

    Args:
        wanted: steps of all epochs.
        max_cpu_s: `train.max_cpu_s`, of all workers; 0 for no limit.
        spent_cpu_s: already used.
        step_cpu_s: of one step, all workers.
        evaluations_cpu_s: of all evaluations, all workers.
    """
    if not max_cpu_s:
        return wanted
    left = max_cpu_s - spent_cpu_s - evaluations_cpu_s
    return max(1, min(wanted, math.floor(left / max(step_cpu_s, 1e-9))))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
