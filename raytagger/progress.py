"""How long work tells of itself: library code calls, the command line draws."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as `progress(stage, done, total)`; `total` is None where it is not known beforehand."""

    def __call__(self, stage: str, done: int, total: int | None = None) -> None:
        """Tells that `done` of `total` units of a stage are done."""
        ...


def silent(stage: str, done: int, total: int | None = None) -> None:
    """Tells nobody."""


def unsaid(line: str) -> None:
    """Tells nobody a line."""
