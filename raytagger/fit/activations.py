"""What frozen lower layers give, computed once a node and kept on its disk: an epoch costs the upper layers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch.distributed

from raytagger.encoders.batches import length_batches
from raytagger.encoders.transformer import batch_budget
from raytagger.fit.inputs import Ragged
from raytagger.fit.job import Place
from raytagger.progress import Progress

POLL_S = 0.2
Fill = Callable[[np.ndarray], np.ndarray]


def keep_activations(
    fill: Fill, rows: Ragged, needed: np.ndarray, width: int, path: Path, place: Place, progress: Progress
) -> Ragged:
    """Hidden states of texts, (T, D) a row in float16, in a file that all workers of a node fill and share.

    The file is kept for later attempts of the same run. Rows that are not needed are never computed, and take no
    room: the file is sparse.

    Args:
        fill: rows -> float (B, T, D), what the lower layers give.
        rows: token ids.
        needed: the rows that will be read.
        width: D.
        path: the file.
        place: this worker; each fills its share.
        progress: told of this share; the stage is named by the file.
    """
    shape = (int(rows.offset[-1]), width)
    own = needed[place.local_rank :: place.local_workers]
    own = own[rows.length[own] > 0]

    def write(hidden_FD: np.memmap) -> None:
        stage, done = f"{path.stem} through the frozen layers", 0
        for batch in length_batches(rows.length[own], batch_budget(place.device)):
            progress(stage, done, len(own))
            for row, values in zip(own[batch], fill(own[batch]), strict=True):
                start, stop = rows.offset[row], rows.offset[row + 1]
                hidden_FD[start:stop] = values[: stop - start]
            done += len(batch)
        progress(stage, done, len(own))

    return Ragged(share_file(write, shape, path, place), rows.offset)


def share_file(write: Callable[[np.memmap], None], shape: tuple[int, int], path: Path, place: Place) -> np.memmap:
    """A float16 array on a node's disk that its workers fill together, once; read-only when all have done so."""
    own, *others = (_done(path, rank, place) for rank in _from(place.local_rank, place.local_workers))
    if not own.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:  # whichever comes first makes it; the size is the same for all
            file.truncate(2 * shape[0] * shape[1])
        array = np.memmap(path, np.float16, "r+", shape=shape)
        write(array)
        array.flush()
        own.touch()
    while not all(other.exists() for other in others):
        time.sleep(POLL_S)
    if place.workers > 1:
        torch.distributed.barrier()
    return np.memmap(path, np.float16, "r", shape=shape)


def _done(path: Path, rank: int, place: Place) -> Path:
    return path.with_suffix(f".{rank}-of-{place.local_workers}.done")


def _from(first: int, count: int) -> list[int]:
    return [(first + number) % count for number in range(count)]
