"""A night: the whole corpus through a tagger, and one commit to the tag table.

identify   what goes in: bundle, label set, documents, settings; nothing to do if the table has just that
tag        a stream of units, resumable
settle     duplicate ids, stale rows of newly quarantined documents, and the books
commit     one version of the table
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from raytagger.bundle import Opened, content_id, open_bundle, pin_bundle, text_settings
from raytagger.corpus import check_splits, list_documents, read_source_labels
from raytagger.errors import SettingsError
from raytagger.progress import Progress, silent
from raytagger.retag.settle import Books, settle
from raytagger.search import MOST_TAGS
from raytagger.settings import RetagRun, SourceSettings, fingerprint
from raytagger.store import FileEntry, Store, join, locked, placed
from raytagger.store.tags import TagTable
from raytagger.stream.job import TagJob
from raytagger.stream.run import TagSummary, tag_stream
from raytagger.stream.units import UNITS


@dataclass(frozen=True)
class Night:
    """What a run of `retag` did."""

    table: str
    version: int
    run_id: str
    books: Books
    summary: TagSummary = field(repr=False)
    seconds: float = 0.0
    nothing_to_do: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "table": self.table,
            "version": self.version,
            "run_id": self.run_id,
            "nothing_to_do": self.nothing_to_do,
            "documents": asdict(self.books),
            "rejected": dict(self.summary.rejected),
            "cut": self.summary.cut,
            "blank": self.summary.blank,
            "resumed_units": self.summary.resumed_units,
            "tagged_now": self.summary.tagged_now,
            "seconds": self.seconds,
            "documents_per_s": self.summary.rate_docs_s,
        }

    def line(self) -> str:
        """For a person."""
        where = f"{self.table} version {self.version}"
        if self.nothing_to_do:
            return f"nothing to do: {where} holds these documents, labels and bundle already"
        books = self.books
        return (
            f"{self.summary.line(where)}\n{books.new:,} new, {books.retagged:,} tagged again, "
            f"{books.stale:,} stale, {books.removed:,} removed, {books.quarantined:,} quarantined"
        )


def retag(run: RetagRun, progress: Progress = silent) -> Night:
    """Tags a corpus into a table.

    The same inputs again are no work; a killed run started again goes on with its unfinished units.

    Raises:
        SettingsError: no documents, bundle or table are named.
        CorpusError: splits are asked for and no document has one; told before the work.
        StoreError: something else than a tag table is there, or it cannot be written; told before the work.
        LockHeldError: another run works on the table.
        RejectsError: too many documents were rejected; nothing was committed.
    """
    _check(run)
    asked, run = run.retag.table, placed(run)
    store, started = Store(run.storage), time.perf_counter()
    table = TagTable(store, run.retag.table)
    table.check()
    pinned = pin_bundle(run.retag.bundle, store)  # a fit that ends meanwhile changes nothing of this run
    opened = open_bundle(pinned, store)
    labels = run.retag.labels
    source = replace(run.source, documents=run.retag.documents, labels=labels or run.source.labels)
    source = text_settings(opened.manifest, source)
    check_splits(store, source, run.retag.splits)
    files = list_documents(store, source)
    label_set_id = read_source_labels(store, source).fingerprint if labels else opened.labels.fingerprint
    inputs_id = _inputs_id(run, source, files, [content_id(opened.manifest), label_set_id])
    with locked(store, join(run.retag.table, "_lock")):
        last = table.last_run()
        if last.get("inputs_id") == inputs_id:
            return Night(
                asked,
                last["version"],
                last["run_id"],
                Books.read_from(last),
                TagSummary(),
                nothing_to_do=True,
            )
        # The version that the run replaces makes a rerun of old inputs a new run, and a resumed one the same.
        run_id = f"{inputs_id}-{last.get('version', 0)}"
        job = _job(run, source, run_id, pinned, opened, label_set_id)
        summary = tag_stream(job, progress)
        written, books = settle(store, table, job, summary)
        facts = {
            "run_id": run_id,
            "bundle_id": opened.bundle_id,
            "label_set_id": label_set_id,
            **books.facts(),
        }
        version = table.commit(written, inputs_id, facts)
    return Night(asked, version, run_id, books, summary, time.perf_counter() - started)


def _check(run: RetagRun) -> None:
    for name in ("documents", "bundle", "table"):
        if not getattr(run.retag, name):
            raise SettingsError(f"retag.{name} is empty", expected="a path or an s3:// address")
    if not 0 <= run.retag.k <= MOST_TAGS:
        raise SettingsError("retag.k", got=run.retag.k, expected=f"0 to {MOST_TAGS}")


def _inputs_id(run: RetagRun, source: SourceSettings, files: list[FileEntry], versions: list[str]) -> str:
    """Changes with the documents, the bundle, the label set and the settings; not with where it runs.

    How many rejects are allowed decides whether a run ends well, not what it writes.
    """
    stamps = [(file.uri, file.size, file.stamp) for file in files]
    return fingerprint(
        replace(
            run,
            retag=replace(run.retag, bundle="", labels="", table=""),
            source=replace(source, labels="", max_reject_share=0.0),
        ),
        files=stamps,
        versions=versions,
        chunk=[UNITS, run.cluster.chunk_documents],
    )


def _job(
    run: RetagRun, source: SourceSettings, run_id: str, bundle: str, opened: Opened, label_set_id: str
) -> TagJob:
    table = run.retag.table
    return TagJob(
        bundle=bundle,
        source=replace(source, columns=()),
        k=run.retag.k or opened.run.search.k,
        tags=True,
        labels=run.retag.labels,
        label_set=label_set_id if run.retag.labels else "",
        splits=run.retag.splits,
        data=join(table, "data", run_id, "outcome=tagged"),
        markers=join(table, "_runs", run_id),
        run_id=run_id,
        provenance={"bundle_id": opened.bundle_id, "label_set_id": label_set_id, "run_id": run_id},
        cluster=run.cluster,
        storage=run.storage,
    )
