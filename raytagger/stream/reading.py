"""Document files read as units: consecutive documents, whose name and extent depend on the corpus alone.

    files ── join small ones ──▶ groups ── read ──▶ chunks of one file ── join ──▶ units

A file is opened, read and written in a group with its small neighbours, so that a thousand files of one document
cost what one file of a thousand does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from raytagger.corpus import read_file, select_splits
from raytagger.settings import SourceSettings
from raytagger.store import FileEntry, Store, at_once
from raytagger.stream.job import TagJob
from raytagger.stream.units import unit_name

GROUP_BYTES, GROUP_FILES = 1_000_000, 256


class Files(NamedTuple):
    """The files of a corpus, and those that are read together: ranges of their numbers."""

    entries: list[FileEntry]
    groups: list[range]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries)


class Unit(NamedTuple):
    """Consecutive documents.

    Attributes:
        name: of the first file and its first row.
        documents: as in `DocumentChunk`.
        rejects: as in `DocumentChunk`.
    """

    name: str
    documents: pa.Table
    rejects: pa.Table

    @property
    def rows(self) -> int:
        """Documents and rejects."""
        return len(self.documents) + len(self.rejects)


def group_files(entries: list[FileEntry]) -> Files:
    """Groups of consecutive files: of at most `GROUP_BYTES` and `GROUP_FILES`, or of a single larger file."""
    groups, start, size = [], 0, 0
    for number, entry in enumerate(entries):
        full = size + entry.size > GROUP_BYTES or number - start == GROUP_FILES
        if number > start and full:
            groups.append(range(start, number))
            start, size = number, 0
        size += entry.size
    return Files(entries, [*groups, range(start, len(entries))])


def read_units(job: TagJob, files: Files, group: range, finished: frozenset[str]) -> Iterator[Unit]:
    """What a job tags of a group's units: those that are not finished, their documents of the wanted splits."""
    for unit in read_group(Store(job.storage), files, group, job.source, job.cluster.chunk_documents):
        wanted = unit._replace(documents=select_splits(unit.documents, job.splits))
        if unit.name not in finished and wanted.rows:
            yield wanted._replace(documents=wanted.documents.select(["doc_id", "text", *job.source.columns]))


def read_group(store: Store, files: Files, group: range, source: SourceSettings, rows: int) -> Iterator[Unit]:
    """The units of a group, each of at most `rows` rows.

    Raises:
        CorpusError: see `read_file`.
        StoreError: a file was written again since it was listed.
    """
    if len(group) == 1:
        return _joined(_chunks(store, files, group[0], source, rows), rows)
    # What opening a small file takes is waiting, above all on object storage.
    parts = at_once(lambda number: list(_chunks(store, files, number, source, rows)), group)
    return _joined((chunk for part in parts for chunk in part), rows)


def _chunks(store: Store, files: Files, number: int, source: SourceSettings, rows: int) -> Iterator[Unit]:
    for chunk in read_file(store, files.entries[number], source, rows):
        yield Unit(unit_name(number, chunk.start), chunk.documents, chunk.rejects)
    store.check_unchanged(files.entries[number])


def _joined(chunks: Iterable[Unit], rows: int) -> Iterator[Unit]:
    """As many chunks to a unit as it holds, where their columns have the same types."""
    waiting, held = list[Unit](), 0
    for chunk in chunks:
        if waiting and (held + chunk.rows > rows or not _alike(waiting, chunk)):
            yield _join(waiting)
            waiting, held = [], 0
        waiting.append(chunk)
        held += chunk.rows
    if waiting:
        yield _join(waiting)


def _alike(units: Sequence[Unit], unit: Unit) -> bool:
    first = next((other for other in units if len(other.documents)), unit)
    return not len(unit.documents) or unit.documents.schema.equals(first.documents.schema)


def _join(units: Sequence[Unit]) -> Unit:
    if len(units) == 1:
        return units[0]
    documents = [unit.documents for unit in units if len(unit.documents)] or [units[0].documents]
    return Unit(units[0].name, pa.concat_tables(documents), pa.concat_tables(unit.rejects for unit in units))
