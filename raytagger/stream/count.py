"""Terms of a corpus that does not fit memory, counted by Ray Data.

    files ── read ──▶ units ── count some ──▶ counts ── merge some ──▶ counts ── the driver merges the rest

Counts are sums over documents, so that neither the order of the units nor who merges what changes the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import ray.data

from raytagger.corpus import list_documents, read_file, select_splits
from raytagger.errors import CorpusError
from raytagger.progress import Progress, silent
from raytagger.settings import FitRun
from raytagger.store import FileEntry, Store, placed
from raytagger.stream.cluster import READER_CPUS, READERS, connected, one_row_blocks, own_errors
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

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them


def count_terms(run: FitRun, progress: Progress = silent) -> TermCounts:
    """Document frequencies over the training split; over all documents where none has a split.

    Equal to one `TermCounts` over the same texts.

    Args:
        run: `source`, `terms.ngrams`, `cluster`, `storage`.
        progress: told of counted documents.

    Raises:
        CorpusError: there is no document, or a file is damaged.
    """
    run = placed(run)
    files = list_documents(Store(run.storage), run.source)
    total = _Part(TermCounts(run.terms.ngrams), has_splits=False)
    read = 0
    with connected(run.cluster), one_row_blocks(), own_errors("no worker can count the corpus"):
        for row in _stream(run, files).iter_rows():
            read += row["texts"]
            total = total.joined(_unpack(row))
            progress("counting", read)
    if not total.counts.texts:
        raise CorpusError(
            "no document to count",
            got=run.source.documents,
            remedy=f"Check the files, and that some document has the split {run.source.train_split}.",
        )
    return total.counts


@dataclass(frozen=True)
class _Part:
    """Counts of some units: of their training documents where any document has a split, else of all of them."""

    counts: TermCounts
    has_splits: bool

    def joined(self, other: _Part) -> _Part:
        """Both; but what was counted for want of splits does not count once there are any."""
        if self.has_splits != other.has_splits:
            return self if self.has_splits else other
        self.counts.merge(other.counts)
        return self


@dataclass(frozen=True)
class _Reader:
    """The read stage as a picklable callable: rows `texts`, `has_splits`."""

    run: FitRun
    files: list[FileEntry]

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        store, source = Store(self.run.storage), self.run.source
        for number in batch["item"].to_pylist():
            for chunk in read_file(store, self.files[number], source, self.run.cluster.chunk_documents):
                documents = chunk.documents
                has_splits = bool(pc.any(pc.is_valid(documents["split"])).as_py())
                if has_splits:
                    documents = select_splits(documents, (source.train_split,))
                texts = pa.array([documents["text"].to_pylist()], pa.list_(pa.large_string()))
                yield pa.table({"texts": texts, "has_splits": [has_splits]})


@dataclass(frozen=True)
class _Counter:
    """The count stage as a picklable callable."""

    ngrams: int

    def __call__(self, batch: pa.Table) -> pa.Table:
        part = _Part(TermCounts(self.ngrams), has_splits=False)
        for row in batch.to_pylist():
            if row["has_splits"] and not part.has_splits:
                part = _Part(TermCounts(self.ngrams), has_splits=True)
            if row["has_splits"] == part.has_splits:
                part.counts.add(row["texts"])
        return _pack(part)


def _stream(run: FitRun, files: list[FileEntry]) -> ray.data.Dataset:
    numbers = ray.data.from_items(list(range(len(files))), override_num_blocks=len(files))
    readers = ray.data.TaskPoolStrategy(size=min(READERS, len(files)))
    counters = ray.data.TaskPoolStrategy(size=run.cluster.workers or None)
    units = numbers.map_batches(
        _Reader(run, files), batch_size=1, batch_format="pyarrow", num_cpus=READER_CPUS, compute=readers
    )
    counts = units.map_batches(
        _Counter(run.terms.ngrams), batch_size=COUNTED, batch_format="pyarrow", compute=counters
    )
    return counts.map_batches(_merge, batch_size=MERGED, batch_format="pyarrow", num_cpus=MERGER_CPUS)


def _merge(batch: pa.Table) -> pa.Table:
    first, *rest = map(_unpack, batch.to_pylist())
    for part in rest:
        first = first.joined(part)
    return _pack(first)


def _pack(part: _Part) -> pa.Table:
    counted = part.counts.counted()
    arrays = {name: pa.array([getattr(counted, name).tobytes()], pa.large_binary()) for name in DTYPES}
    facts = {"texts": counted.texts, "ngrams": counted.ngrams, "has_splits": part.has_splits}
    return pa.table({name: [value] for name, value in facts.items()} | arrays)


def _unpack(row: dict[str, Any]) -> _Part:
    arrays: dict[str, Any] = {name: np.frombuffer(row[name], dtype) for name, dtype in DTYPES.items()}
    counted = CountedTerms(row["texts"], row["ngrams"], **arrays)
    return _Part(TermCounts.from_counted(counted), row["has_splits"])
