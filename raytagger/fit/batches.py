"""Which rows a step reads: a pure function of seed and step, so that a resumed run equals an undisturbed one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from raytagger.errors import SettingsError

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batches:
    """Batches of `size` of `rows` rows, each epoch in an order of its own; the odd rows at its end are left out.

    Attributes:
        rows: how many rows there are.
        size: rows of a step over all workers, at most `rows`; a multiple of `workers`, or fewer than these.
        workers: that share a step evenly, or get a row or none each.
        seed: the same seed gives the same batches.
    """

    rows: int
    size: int
    workers: int
    seed: int

    @property
    def steps_an_epoch(self) -> int:
        """Full batches of an epoch."""
        return self.rows // self.size

    @property
    def odd(self) -> int:
        """Rows that an epoch leaves out, others in each."""
        return self.rows % self.size

    def step(self, step: int) -> Rows:
        """The rows of all workers, int64 (size,)."""
        epoch, place = divmod(step, self.steps_an_epoch)
        return _order(self.seed, epoch, self.rows)[place * self.size : (place + 1) * self.size]

    def of_worker(self, step: int, rank: int) -> Rows:
        """The rows of one worker, int64 (size / workers,)."""
        start, stop = (self.size * place // self.workers for place in (rank, rank + 1))
        return self.step(step)[start:stop]


def make_batches(rows: int, size: int, workers: int, seed: int, or_none: bool = False) -> Batches:
    """Batches of `size` rows, smaller where there are not so many rows.

    Args:
        rows: how many rows there are.
        size: rows of a step over all workers.
        workers: that share a step.
        seed: of the orders.
        or_none: where there are fewer rows than workers, some get none.

    Raises:
        SettingsError: the workers cannot share a batch evenly, or there are fewer rows than workers.
    """
    if size % workers or not size:
        raise SettingsError(
            "train.batch_size cannot be shared evenly",
            got=f"{size} documents, {workers} workers",
            expected=f"a multiple of {workers}",
            remedy="Change train.batch_size or cluster.workers.",
        )
    size = min(size, rows // workers * workers) or (rows if or_none else 0)
    if not size:
        raise SettingsError(
            "there are fewer texts to train on than workers",
            got=f"{rows} texts, {workers} workers",
            remedy="Lower cluster.workers, or check source.train_split and the labels.",
        )
    return Batches(rows, size, workers, seed)


def sharing_evenly(size: int, most: int) -> int:
    """The largest number of workers, `most` or fewer and one at least, that share a batch of `size` evenly."""
    return max((workers for workers in range(1, most + 1) if size % workers == 0), default=1)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, rows: int) -> Rows:
    return np.random.default_rng([seed, epoch, rows]).permutation(rows)
