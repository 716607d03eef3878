"""The stream in this process, unit by unit: for input that is tagged sooner than Ray starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

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
            with notes.of_deaths_only(unit.name):
                yield tagger.tag(unit)


@dataclass(frozen=True)
class Notes:
    """The ledger of a single process: MARKERS/<unit>.begun stands there while a unit is being tagged.

    A note that is found when a unit is begun was left by a process that died of it, so that the unit is tagged in a
    process of its own: the same command, run again, never dies of the same document twice.
    """

    patience: ClassVar[int] = 1  # a note outlives its process
    store: Store
    markers: str

    def begin(self, unit: str) -> int:
        """See `Ledger`."""
        return not self.store.create_bytes(self._uri(unit), b"")

    def end(self, unit: str) -> None:
        """See `Ledger`."""
        self.store.delete(self._uri(unit))

    @contextmanager
    def of_deaths_only(self, unit: str) -> Iterator[None]:
        """Ends a unit that is interrupted, or ends in an error that can be told: it has killed nobody."""
        try:
            yield
        except BaseException:
            self.end(unit)
            raise

    def clear(self) -> None:
        """Removes the folder where no note is left in it."""
        if self.store.exists(self.markers) and not self.store.list(self.markers):
            self.store.delete(self.markers)

    def _uri(self, unit: str) -> str:
        return join(self.markers, f"{unit}.begun")
