"""The stream in this process, unit by unit: for input that is tagged sooner than Ray starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from raytagger.store import Store, join
from raytagger.stream.job import TagJob
from raytagger.stream.reading import Files, read_units
from raytagger.stream.stage import UnitTagger
from raytagger.stream.units import Done


def tag_units(job: TagJob, files: Files, finished: frozenset[str]) -> Iterator[Done]:
    """Tags what is not finished; a marker a unit."""
    notes = Notes(Store(job.storage), job.markers)
    tagger: UnitTagger | None = None
    for group in files.groups:
        for unit in read_units(job, files, group, finished):
            tagger = tagger or UnitTagger(job, notes)
            try:
                yield tagger.tag(unit)
            except BaseException:
                notes.end(unit.name)  # interrupted, or an error that can be told: no document has killed us
                raise


@dataclass(frozen=True)
class Notes:
    """The ledger of a single process: MARKERS/<unit>.begun stands there while a unit is being tagged.

    A note that is found when a unit is begun was left by a process that died of it, so that the unit is tagged in a
    process of its own: the same command, run again, never dies of the same document twice.
    """

    store: Store
    markers: str

    def begin(self, unit: str) -> bool:
        """See `Ledger`."""
        return not self.store.create_bytes(self._uri(unit), b"")

    def end(self, unit: str) -> None:
        """See `Ledger`."""
        self.store.delete(self._uri(unit))

    def _uri(self, unit: str) -> str:
        return join(self.markers, f"{unit}.begun")
