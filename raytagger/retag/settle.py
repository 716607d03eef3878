"""Between tagging and commit: duplicate ids, stale rows, the quarantine, and books that must balance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.errors import StoreError
from raytagger.schema import REJECT_SCHEMA
from raytagger.store import Store, join
from raytagger.store.tags import DataFile, TagTable, hashed_ids
from raytagger.stream.duplicates import set_aside_duplicates
from raytagger.stream.job import TagJob
from raytagger.stream.run import TagSummary


@dataclass(frozen=True)
class Books:
    """Documents of a night. `read = new + retagged + quarantined`, `previous = retagged + stale + removed`."""

    read: int = 0
    new: int = 0
    retagged: int = 0
    quarantined: int = 0
    previous: int = 0
    stale: int = 0
    removed: int = 0

    def facts(self) -> dict[str, int]:
        """For the commit's metadata."""
        return {f"documents_{name}": value for name, value in asdict(self).items()}

    @classmethod
    def read_from(cls, commit: dict[str, Any]) -> Books:
        """From a commit's metadata."""
        return cls(**{name: int(commit.get(f"documents_{name}", 0)) for name in asdict(cls())})

    def check(self) -> None:
        """Raises StoreError where a document is unaccounted for."""
        if self.read != self.new + self.retagged + self.quarantined:
            raise StoreError(
                "documents are unaccounted for",
                got=asdict(self),
                expected="read = new + retagged + quarantined",
            )
        if self.previous != self.retagged + self.stale + self.removed:
            raise StoreError(
                "rows are unaccounted for", got=asdict(self), expected="previous = retagged + stale + removed"
            )


def settle(store: Store, table: TagTable, job: TagJob, summary: TagSummary) -> tuple[list[DataFile], Books]:
    """The data files of the commit, and the books; writes the quarantine.

    Of several documents with one id the first in the corpus's order is kept and the others are quarantined.

    Raises:
        RejectsError: with them, more documents are rejected than the run allows; nothing is written then.
    """
    tagged = np.sort(set_aside_duplicates(store, job, summary))
    rejects = [reject for done in summary.units for reject in done.rejects]
    _write_quarantine(store, table, job.run_id, rejects)
    rejected = hashed_ids(pa.chunked_array([pa.array([reject["doc_id"] for reject in rejects], pa.string())]))
    previous, stale = _stale_rows(store, table, job, np.setdiff1d(rejected, tagged))
    retagged = int(np.isin(previous, tagged, assume_unique=True).sum())
    stale_count = stale.rows if stale else 0
    books = Books(
        read=summary.read,
        new=len(tagged) - retagged,
        retagged=retagged,
        quarantined=len(rejects),
        previous=len(previous),
        stale=stale_count,
        removed=len(previous) - retagged - stale_count,
    )
    books.check()
    below = job.data.removeprefix(table.uri.rstrip("/") + "/")
    files = [
        DataFile(join(below, done.path), done.size, done.rows, "tagged") for done in summary.units if done.rows
    ]
    return [*files, *([stale] if stale else [])], books


def _stale_rows(
    store: Store, table: TagTable, job: TagJob, rejected: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.uint64], DataFile | None]:
    """Ids of the previous version, and yesterday's rows of documents that could not be tagged today."""
    delta = table.open()
    if delta is None:
        return np.zeros(0, np.uint64), None
    previous, kept = [], []
    for rows in table.read(delta):
        ids = hashed_ids(rows["doc_id"])
        previous.append(ids)
        wanted = np.isin(ids, rejected)
        if wanted.any():
            kept.append(rows.filter(pa.array(wanted)).drop_columns(["outcome"]))
    ids = np.concatenate(previous) if previous else np.zeros(0, np.uint64)
    if not kept:
        return ids, None
    rows = pa.concat_tables(kept)
    path = join("data", job.run_id, "outcome=stale", "stale.parquet")
    with store.writing(join(table.uri, path)) as file:
        pq.write_table(rows, file, compression="zstd")
        size = file.tell()
    return ids, DataFile(path, size, len(rows), "stale")


def _write_quarantine(store: Store, table: TagTable, run_id: str, rejects: list[dict[str, str]]) -> None:
    rows = [{**reject, "run_id": run_id} for reject in rejects]
    with store.writing(table.quarantine_uri(run_id)) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=REJECT_SCHEMA), file)
