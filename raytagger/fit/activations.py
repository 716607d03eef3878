"""What frozen lower layers give, computed once a node and kept on its disk: an epoch then costs the upper layers."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch.distributed

from raytagger.encoders.batches import length_batches
from raytagger.encoders.module import DocumentEncoder, pad_rows
from raytagger.encoders.transformer import batch_budget
from raytagger.fit.inputs import Ragged
from raytagger.fit.job import Place

POLL_S = 0.2


def keep_activations(encoder: DocumentEncoder, rows: Ragged, path: Path, place: Place) -> Ragged:
    """Hidden states of every text, (T, D) a row in float16, from a file that all workers of a node fill and share.

    The file is kept for later attempts of the same run.

    Args:
        encoder: with frozen layers.
        rows: token ids.
        path: the file.
        place: this worker; each fills its share.
    """
    done = path.with_suffix(f".{place.local_rank}-of-{place.local_workers}.done")
    width = int(encoder.model.config.hidden_size)
    shape = (int(rows.offset[-1]), width)
    if not done.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size < 2 * shape[0] * width:
            with path.open("ab") as file:  # every worker may do this: the size is the same
                file.truncate(2 * shape[0] * width)
        _fill(encoder, rows, np.memmap(path, np.float16, "r+", shape=shape), place)
        done.touch()
    while not all(
        path.with_suffix(f".{rank}-of-{place.local_workers}.done").exists() for rank in range(place.local_workers)
    ):
        time.sleep(POLL_S)
    if place.workers > 1:
        torch.distributed.barrier()
    return Ragged(np.memmap(path, np.float16, "r", shape=shape), rows.offset)


def _fill(encoder: DocumentEncoder, rows: Ragged, hidden_FD: np.memmap, place: Place) -> None:
    own = np.arange(place.local_rank, len(rows), place.local_workers)
    own = own[rows.length[own] > 0]
    for batch in length_batches(rows.length[own], batch_budget(place.device)):
        texts = [rows.row(int(row)) for row in own[batch]]
        lower_BTD = encoder.lower(pad_rows(texts, place.device)).half().cpu().numpy()
        for row, values in zip(own[batch], lower_BTD, strict=True):
            start, stop = rows.offset[row], rows.offset[row + 1]
            hidden_FD[start:stop] = values[: stop - start]
    hidden_FD.flush()
