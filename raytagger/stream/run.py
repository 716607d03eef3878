"""A corpus through a tagger, as a stream of units.

    files ── read ──▶ units ── tag ──▶ markers ──▶ the driver counts them

On Ray (`on_ray.py`), or in this process (`here.py`) where there is little to do.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from types import ModuleType

from raytagger.corpus import list_documents
from raytagger.corpus.limit import RejectLimit
from raytagger.errors import CorpusError
from raytagger.progress import Progress, silent
from raytagger.settings import SourceSettings
from raytagger.store import Store
from raytagger.stream import here
from raytagger.stream.executor import at_work, ray_is_up
from raytagger.stream.job import TagJob
from raytagger.stream.reading import group_files
from raytagger.stream.units import Done, finished_units
from raytagger.tables import blank_part, blank_warning


@dataclass
class TagSummary:
    """What a run did: counts of all its units, of this process alone where it says so, and the time."""

    read: int = 0
    tagged: int = 0
    cut: int = 0
    blank: int = 0
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
        parts.append(blank_part(self.share_blank))
        return "\n".join([f"{'; '.join(parts)}: {where}", *blank_warning(self.share_blank)])

    @property
    def share_blank(self) -> float:
        """The share of tagged documents of which nothing is known."""
        return self.blank / max(self.tagged, 1)

    def recount(self, units: list[Done]) -> None:
        """Counts these units instead of those counted so far."""
        self.read = self.tagged = self.cut = self.blank = 0
        self.rejected, self.units = Counter(), []
        for done in units:
            self.add(done)

    def add(self, done: Done) -> None:
        """Counts a unit."""
        self.units.append(done)
        self.read += done.rows + len(done.rejects)
        self.tagged += done.rows
        self.cut += done.cut
        self.blank += done.blank
        self.rejected.update(reject["reason"] for reject in done.rejects)


def tag_stream(job: TagJob, progress: Progress = silent) -> TagSummary:
    """Tags every document of a job that no earlier attempt of the same run has finished.

    Raises:
        RejectsError: more documents were rejected than `source.max_reject_share` allows; the units stay, so that
            the run can be looked at and taken up again.
        CorpusError: no document is there to tag, or a file is damaged.
    """
    store, summary, started = Store(job.storage), TagSummary(), time.perf_counter()
    files = group_files(list_documents(store, job.source))
    for done in finished_units(store, job.markers):
        summary.add(done)
    summary.resumed_units, summary.tagged_before = len(summary.units), summary.tagged
    finished = {done.unit for done in summary.units}
    progress("tagging", summary.read)
    with at_work(job.cluster, files.size):
        for done in _executor().tag_units(job, files, frozenset(finished)):
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


def _executor() -> ModuleType:
    if not ray_is_up():
        return here
    from raytagger.stream import on_ray

    return on_ray


def check_rejects(summary: TagSummary, source: SourceSettings) -> None:
    """Ends a run that has too many rejects.

    Raises:
        RejectsError: their share is larger than `source.max_reject_share`.
    """
    examples: dict[str, str] = {}
    for done in summary.units:
        for one in done.rejects:
            examples.setdefault(one["reason"], f"{one['doc_id']}: {one['error']}")
    limit = RejectLimit(source, summary.read, summary.rejected, examples)
    limit.check("What was tagged is kept and not tagged again.")
