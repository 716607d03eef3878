"""`raytagger corpus convert`: documents and labels of any format as Parquet, chunk by chunk, with a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.corpus.compression import strip_compression
from raytagger.corpus.documents import read_documents
from raytagger.corpus.exports import VOCABULARIES
from raytagger.corpus.formats import find_format_name
from raytagger.corpus.labels import LabelSet, read_source_labels
from raytagger.corpus.output import write_table
from raytagger.corpus.report import CorpusReport
from raytagger.corpus.rows import STRINGS
from raytagger.errors import CorpusError, RejectsError
from raytagger.progress import Progress, silent
from raytagger.schema import REJECT_SCHEMA
from raytagger.settings import SourceSettings
from raytagger.store import Store, check_writable, join

DOCUMENTS, REJECTS, LABELS = "docs.parquet", "docs.rejects.parquet", "labels.parquet"
TAG_TABLE = "tags.xml"  # the one file of labels that is known by its name


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        output: the folder.
        files: names of the files in it.
        report: counts and findings.
        labels: labels written, retired ones too.
        named: gold labels that stood there by their titles and became ids.
    """

    output: str
    files: tuple[str, ...]
    report: CorpusReport
    labels: int
    named: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        facts = {"output": self.output, "files": list(self.files), "labels": self.labels, "named": self.named}
        return {**facts, **self.report.as_dict()}

    def lines(self) -> list[str]:
        """For people: the report."""
        named = [f"labels given by title, which became ids: {self.named:,}"] if self.named else []
        return [*self.report.lines(), *named]

    def line(self) -> str:
        """For people: what is where."""
        rejected = self.report.rejects.total()
        counts = (
            [f"{self.report.n_documents:,} documents, {rejected:,} rejected"] if DOCUMENTS in self.files else []
        )
        retired = self.labels - self.report.n_labels
        with_retired = f" ({retired:,} retired)" if retired else ""
        counts += [f"{self.labels:,} labels{with_retired}"] if LABELS in self.files else []
        return f"{', '.join(counts)}: {self.output}"


def convert(store: Store, source: SourceSettings, output: str, progress: Progress = silent) -> Conversion:
    """Writes `docs.parquet`, `docs.rejects.parquet` and, where labels are known, `labels.parquet` to a folder.

    A vocabulary as `source.documents` gives `labels.parquet` alone. Of documents with one id the first is kept and
    the others are rejected. A gold label that is no id but the title of one label becomes its id. Memory is that of
    the labels, of a chunk and of eight bytes a document.

    Raises:
        CorpusError: documents or labels cannot be read.
        RejectsError: more were rejected than `source.max_reject_share` allows; then only the rejects are written.
        StoreError: the folder cannot be written to, which is found before anything is read.
    """
    check_writable(store, output, folder=True)
    for name in (DOCUMENTS, REJECTS, LABELS):
        check_writable(store, join(output, name))
    if _is_vocabulary(source):
        labels = read_source_labels(store, replace(source, labels=source.documents, label_format=source.format))
        write_table(store, join(output, LABELS), labels.to_table())
        return Conversion(output, (LABELS,), CorpusReport(labels), len(labels), 0)
    labels = read_source_labels(store, source) if source.labels else None
    report, titles, failure = CorpusReport(labels), _Titles(labels), None
    with _writing(store, join(output, REJECTS)) as rejects:
        rejects.write(pa.table({name: [] for name in REJECT_SCHEMA.names}, schema=REJECT_SCHEMA))
        try:
            with _writing(store, join(output, DOCUMENTS)) as documents:
                for chunk in read_documents(store, source):
                    chunk = replace(chunk, documents=titles.resolve(chunk.documents))
                    report.add(chunk)
                    rejects.write(chunk.rejects)
                    documents.write(chunk.documents)
                    progress("convert", report.n_documents)
        except RejectsError as error:
            failure = error  # the rejects tell what is wrong, so that they are written all the same
    if failure:
        raise failure
    if labels:
        write_table(store, join(output, LABELS), labels.to_table())
    files = (DOCUMENTS, REJECTS, *([LABELS] if labels else []))
    return Conversion(output, files, report, len(labels) if labels else 0, titles.named)


class _Titles:
    """Gold labels by title, as people name them in annotation tools."""

    def __init__(self, labels: LabelSet | None) -> None:
        self._labels = labels
        self.named = 0

    @cached_property
    def _ids(self) -> dict[str, str]:
        """Titles that one label alone has and that are no ids, to its id."""
        if self._labels is None:
            return {}
        counts = Counter(self._labels.titles)
        pairs = zip(self._labels.titles, self._labels.ids, strict=True)
        return {
            title: label_id
            for title, label_id in pairs
            if title and counts[title] == 1 and title not in self._labels.index
        }

    def resolve(self, documents: pa.Table) -> pa.Table:
        """Documents whose labels are ids as far as these are known."""
        if not self._ids:
            return documents
        lists = documents["labels"].to_pylist()
        self.named += sum(name in self._ids for names in lists for name in names or ())
        known = [names and list(dict.fromkeys(self._ids.get(name, name) for name in names)) for names in lists]
        place = documents.column_names.index("labels")
        return documents.set_column(place, "labels", pa.array(known, STRINGS))


class _Writer:
    """A Parquet file whose schema is that of the first chunk with rows."""

    def __init__(self, uri: str, file: Any) -> None:
        self._uri, self._file, self._writer = uri, file, None
        self._empty: pa.Table | None = None

    def write(self, table: pa.Table) -> None:
        """Appends rows.

        Raises:
            CorpusError: a column has another type than before.
        """
        if self._writer is None:
            self._empty = table.slice(0, 0)
            if not len(table):
                return
            self._writer = pq.ParquetWriter(self._file, table.schema, compression="zstd")
        try:
            self._writer.write_table(table.cast(self._writer.schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise CorpusError(
                f"{self._uri}: a column changes its type between the files: {error}",
                remedy="Convert the files one by one, or leave the column out of source.columns.",
            ) from error

    def close(self) -> None:
        """Finishes the file, which may have no rows."""
        if self._writer is None and self._empty is not None:
            self._writer = pq.ParquetWriter(self._file, self._empty.schema)
        if self._writer is not None:
            self._writer.close()


@contextmanager
def _writing(store: Store, uri: str) -> Iterator[_Writer]:
    with store.writing(uri) as file:
        writer = _Writer(uri, file)
        try:
            yield writer
        finally:
            writer.close()


def _is_vocabulary(source: SourceSettings) -> bool:
    name = strip_compression(source.documents.rstrip("/").rsplit("/", 1)[-1]).lower()
    return find_format_name(source.documents, source.format) in VOCABULARIES or name == TAG_TABLE
