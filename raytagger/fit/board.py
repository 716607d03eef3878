"""Where workers write how they get on, and the driver reads it. Its process imports no more than it needs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import RayError

from raytagger.errors import RaytaggerError
from raytagger.progress import Progress

POLL_S = 1.0


@ray.remote(num_cpus=0)
class Board:
    """Where the workers write how they get on, and the driver reads it."""

    def __init__(self) -> None:
        self._news: list[tuple[Any, ...]] = []

    def write(self, *news: Any) -> None:
        """Adds a line."""
        self._news.append(news)

    def failed(self) -> bool:
        """Whether a worker has told what no further attempt can mend."""
        return any(kind == "failure" for kind, *_ in self._news)

    def read(self, start: int) -> list[tuple[Any, ...]]:
        """All from `start` on."""
        return self._news[start:]


@contextlib.contextmanager
def reading(board: Any, progress: Progress, say: Callable[[str], None]) -> Iterator[list[RaytaggerError]]:
    """Reads the board while the block runs; gives the errors that workers wrote there."""
    failures: list[RaytaggerError] = []
    ended = threading.Event()
    read = 0

    def look() -> None:
        nonlocal read
        news: list[tuple[Any, ...]] = ray.get(board.read.remote(read))
        read += len(news)
        for kind, *rest in news:
            if kind == "failure":
                failures.append(rest[0])
            elif kind == "say":
                say(rest[0])
            else:
                progress(*rest)

    def watch() -> None:
        while not ended.wait(POLL_S):
            with contextlib.suppress(RayError):
                look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield failures
    finally:
        ended.set()
        thread.join()
        with contextlib.suppress(RayError):
            look()
