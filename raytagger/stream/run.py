"""A corpus through a tagger, as a Ray Data stream of units.

    files ── read ──▶ units ── tag ──▶ markers ──▶ the driver counts them

Each arrow is a Ray Data stage with back-pressure; documents never pass through the driver.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import ray.data

from raytagger.corpus import list_documents, read_file, select_splits
from raytagger.errors import CorpusError, RejectsError
from raytagger.progress import Progress, silent
from raytagger.settings import SourceSettings
from raytagger.store import FileEntry, Store
from raytagger.stream.cluster import READER_CPUS, READERS, connected, one_row_blocks, own_errors, share_out
from raytagger.stream.job import TagJob
from raytagger.stream.stage import Ledger, TagStage, to_ipc
from raytagger.stream.units import Done, finished_units, unit_name


@dataclass
class TagSummary:
    """What a run did: counts of all its units, of this process alone where it says so, and the time."""

    read: int = 0
    tagged: int = 0
    cut: int = 0
    resumed_units: int = 0
    tagged_before: int = 0
    tagged_now: int = 0
    seconds: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    units: list[Done] = field(default_factory=list)

    @property
    def rejects(self) -> int:
        """How many documents were rejected."""
        return self.rejected.total()

    @property
    def rate_docs_s(self) -> float:
        """Documents a second of this process."""
        return self.tagged_now / self.seconds if self.seconds else 0.0

    def line(self, where: str) -> str:
        """For a person: counts, time, rate, and where the output is."""
        parts = [f"{self.tagged:,} of {self.read:,} documents tagged in {self.seconds:.1f} s"]
        if self.tagged_now:
            parts.append(f"{self.rate_docs_s:,.0f} documents/s")
        if self.resumed_units:
            parts.append(f"{self.tagged_before:,} from an earlier attempt")
        if self.rejects:
            parts.append(f"rejected: {', '.join(f'{n} {reason}' for reason, n in self.rejected.most_common())}")
        if self.cut:
            parts.append(f"{100 * self.cut / max(self.tagged, 1):.1f} % longer than the encoder reads")
        return f"{'; '.join(parts)}: {where}"

    def recount(self, units: list[Done]) -> None:
        """Counts these units instead of those counted so far."""
        self.read = self.tagged = self.cut = 0
        self.rejected, self.units = Counter(), []
        for done in units:
            self.add(done)

    def add(self, done: Done) -> None:
        """Counts a unit."""
        self.units.append(done)
        self.read += done.rows + len(done.rejects)
        self.tagged += done.rows
        self.cut += done.cut
        self.rejected.update(reject["reason"] for reject in done.rejects)


def tag_stream(job: TagJob, progress: Progress = silent) -> TagSummary:
    """Tags every document of a job that no earlier attempt of the same run has finished.

    Raises:
        RejectsError: more documents were rejected than `source.max_reject_share` allows; the units stay, so that
            the run can be looked at and taken up again.
        CorpusError: no document is there to tag, or a file is damaged.
    """
    store, summary, started = Store(job.storage), TagSummary(), time.perf_counter()
    files = list_documents(store, job.source)
    for done in finished_units(store, job.markers):
        summary.add(done)
    summary.resumed_units, summary.tagged_before = len(summary.units), summary.tagged
    finished = {done.unit for done in summary.units}
    progress("tagging", summary.read)
    with connected(job.cluster):
        for done in _stream(job, files, frozenset(finished)):
            summary.add(done)
            summary.tagged_now += done.rows
            progress("tagging", summary.read)
    summary.units.sort(key=lambda unit: unit.unit)
    summary.seconds = time.perf_counter() - started
    if not summary.read:
        raise CorpusError(
            "no document to tag",
            got=f"{job.source.documents}, splits {', '.join(job.splits) or 'all'}",
            remedy="Check the splits.",
        )
    check_rejects(summary, job.source)
    return summary


def read_units(job: TagJob, files: list[FileEntry], finished: frozenset[str], number: int) -> Iterator[pa.Table]:
    """The units of one file that are not finished yet, one row each."""
    store, source = Store(job.storage), job.source
    for chunk in read_file(store, files[number], source, job.cluster.chunk_documents):
        unit = unit_name(number, chunk.start)
        documents = select_splits(chunk.documents, job.splits)
        if unit in finished or not len(documents) + len(chunk.rejects):
            continue
        wanted = documents.select(["doc_id", "text", *source.columns])
        yield pa.table(
            {
                "unit": [unit],
                "documents": pa.array([to_ipc(wanted)], pa.large_binary()),
                "rejects": pa.array([to_ipc(chunk.rejects)], pa.large_binary()),
            }
        )
    store.check_unchanged(files[number])


def _stream(job: TagJob, files: list[FileEntry], finished: frozenset[str]) -> Iterator[Done]:
    with one_row_blocks():
        numbers = ray.data.from_items(list(range(len(files))), override_num_blocks=len(files))
        units = numbers.map_batches(
            _Reader(job, files, finished),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=READER_CPUS,
            compute=ray.data.TaskPoolStrategy(size=min(READERS, len(files))),
        )
        workers, resources = share_out(job.cluster)
        markers = units.map_batches(
            TagStage,
            fn_constructor_args=(job, Ledger.remote()),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
            **resources,
        )
        with own_errors("no worker can load the bundle"):
            for row in markers.iter_rows():
                yield Done(**json.loads(row["done"]))


@dataclass(frozen=True)
class _Reader:
    """The read stage as a picklable callable."""

    job: TagJob
    files: list[FileEntry]
    finished: frozenset[str]

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for number in batch["item"].to_pylist():
            yield from read_units(self.job, self.files, self.finished, number)


def check_rejects(summary: TagSummary, source: SourceSettings) -> None:
    """Ends a run that has too many rejects.

    Raises:
        RejectsError: their share is larger than `source.max_reject_share`.
    """
    if summary.rejects <= source.max_reject_share * summary.read:
        return
    example = next(done.rejects[0] for done in summary.units if done.rejects)
    raise RejectsError(
        f"{summary.rejects} of {summary.read} documents were rejected",
        got=f"{dict(summary.rejected)}, such as {example['doc_id']}: {example['error']}",
        expected=f"a share of {source.max_reject_share} at most (source.max_reject_share)",
        remedy="Mend the documents or raise the limit; what was tagged is kept and not tagged again.",
    )
