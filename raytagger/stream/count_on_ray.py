"""Terms counted by Ray Data.

files ── read ──▶ units ── count some ──▶ counts ── merge some ──▶ counts
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray.data

from raytagger.settings import FitRun
from raytagger.stream.cluster import READER_CPUS, READERS, WORKER_CPUS, one_row_blocks, own_errors
from raytagger.stream.count import Part, Texts, read_texts
from raytagger.stream.on_ray import groups_of
from raytagger.stream.reading import Files
from raytagger.vectors import CountedTerms, TermCounts

COUNTED, MERGED = 4, 8  # units that one task counts, and counts that one task merges
MERGER_CPUS = 0.5  # unlike what counting takes, or Ray Data would make one stage of both
DTYPES: dict[str, Any] = {
    "word_byte": np.uint8,
    "word_start_W1": np.int64,
    "word_frequency_W": np.int64,
    "pair_key_P": np.uint64,
    "pair_frequency_P": np.int32,
}


def count_parts(run: FitRun, files: Files) -> Iterator[Part]:
    """Counts on the connected Ray; a part for every few tasks."""
    readers = ray.data.TaskPoolStrategy(size=min(READERS, len(files.groups)))
    counters = ray.data.TaskPoolStrategy(size=run.cluster.workers or None)
    units = groups_of(files).map_batches(
        _Reader(run, files), batch_size=1, batch_format="pyarrow", num_cpus=READER_CPUS, compute=readers
    )
    counts = units.map_batches(
        _Counter(run), batch_size=COUNTED, batch_format="pyarrow", num_cpus=WORKER_CPUS, compute=counters
    )
    merged = counts.map_batches(_merge, batch_size=MERGED, batch_format="pyarrow", num_cpus=MERGER_CPUS)
    with one_row_blocks(), own_errors("no worker can count the corpus"):
        for row in merged.iter_rows():
            yield _unpack(row)


@dataclass(frozen=True)
class _Reader:
    """The read stage as a picklable callable: rows `texts`, `has_splits`."""

    run: FitRun
    files: Files

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for number in batch["item"].to_pylist():
            for unit in read_texts(self.run, self.files, self.files.groups[number]):
                texts = pa.array([unit.texts], pa.list_(pa.large_string()))
                yield pa.table({"texts": texts, "has_splits": [unit.has_splits]})


@dataclass(frozen=True)
class _Counter:
    """The count stage as a picklable callable."""

    run: FitRun

    def __call__(self, batch: pa.Table) -> pa.Table:
        part = Part.empty(self.run)
        for row in batch.to_pylist():
            part = part.with_texts(self.run, Texts(row["texts"], row["has_splits"]))
        return _pack(part)


def _merge(batch: pa.Table) -> pa.Table:
    first, *rest = map(_unpack, batch.to_pylist())
    for part in rest:
        first = first.joined(part)
    return _pack(first)


def _pack(part: Part) -> pa.Table:
    counted = part.counts.counted()
    arrays = {name: pa.array([getattr(counted, name).tobytes()], pa.large_binary()) for name in DTYPES}
    facts = {"texts": counted.texts, "ngrams": counted.ngrams, "has_splits": part.has_splits}
    return pa.table({name: [value] for name, value in facts.items()} | arrays)


def _unpack(row: dict[str, Any]) -> Part:
    arrays: dict[str, Any] = {name: np.frombuffer(row[name], dtype) for name, dtype in DTYPES.items()}
    counted = CountedTerms(row["texts"], row["ngrams"], **arrays)
    return Part(TermCounts.from_counted(counted), row["has_splits"])
