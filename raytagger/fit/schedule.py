"""The learning rate: up linearly over the warm-up, then down linearly to nothing."""

from __future__ import annotations


def rate_share(step: int, steps: int, warm_up: float) -> float:
    """The share of the full learning rate at a step, in (0, 1].

    Args:
        step: counted from 0.
        steps: of the whole training.
        warm_up: share of the steps in which the rate rises.
    """
    rising = warm_up * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    return (steps - step) / max(steps - rising, 1)
