"""Of several documents with one id the first in the corpus's order counts; the others are put aside as rejects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from raytagger.errors import StoreError
from raytagger.store import Store, at_once, join
from raytagger.store.tags import hashed_ids
from raytagger.stream.job import TagJob
from raytagger.stream.run import TagSummary, check_rejects
from raytagger.stream.units import Done

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them


def set_aside_duplicates(store: Store, job: TagJob, summary: TagSummary) -> npt.NDArray[np.uint64]:
    """Rewrites the units that hold an id for the second time, and counts their rejects in the summary.

    Most corpora have none. What is held in memory is eight bytes a document.

    Returns:
        The hashed ids of the documents that stay, uint64 (N,), in the corpus's order.

    Raises:
        RejectsError: with the duplicates, more documents are rejected than `source.max_reject_share` allows.
        StoreError: a unit's file is not what its marker says.
    """
    units = [done for done in summary.units if done.path]
    ids = at_once(lambda done: _unit_ids(store, job, done), units)
    flat = np.concatenate(ids) if ids else np.zeros(0, np.uint64)
    first = np.zeros(len(flat), bool)
    first[np.unique(flat, return_index=True)[1]] = True
    if first.all():
        return flat
    parts = np.split(first, np.cumsum([done.rows for done in units])[:-1])
    rewritten = {
        done.unit: _without(store, job, done, good)
        for done, good in zip(units, parts, strict=True)
        if not good.all()
    }
    summary.recount([rewritten.get(done.unit, done) for done in summary.units])
    check_rejects(summary, job.source)
    return flat[first]


def _unit_ids(store: Store, job: TagJob, done: Done) -> npt.NDArray[np.uint64]:
    with store.open(join(job.data, done.path)) as file:
        ids = hashed_ids(pq.ParquetFile(file).read(["doc_id"])["doc_id"])
    if len(ids) != done.rows:
        raise StoreError(
            f"unit {done.unit} has other rows than its marker says", got=len(ids), expected=str(done.rows)
        )
    return ids


def _without(store: Store, job: TagJob, done: Done, good: npt.NDArray[np.bool_]) -> Done:
    """The unit without its duplicates, in a file of its own: the marker's file stays for a run started again."""
    with store.open(join(job.data, done.path)) as file:
        rows = pq.ParquetFile(file).read()
    kept, twice = rows.filter(pa.array(good)), rows.filter(pa.array(~good))["doc_id"].to_pylist()
    error = "an earlier document has this id"
    rejects = [
        *done.rejects,
        *({"doc_id": doc_id, "stage": "commit", "reason": "duplicate_id", "error": error} for doc_id in twice),
    ]
    path, size = "", 0
    if len(kept):
        path = f"{done.path.removesuffix('.parquet')}-unique.parquet"
        with store.writing(join(job.data, path)) as file:
            pq.write_table(kept, file, compression="zstd")
            size = file.tell()
    # Units that an older version tagged have no such column.
    blank = pc.sum(kept["blank"]).as_py() or 0 if "blank" in kept.column_names else 0
    return replace(done, path=path, size=size, rows=len(kept), rejects=rejects, blank=blank)
