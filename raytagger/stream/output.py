"""`raytagger tag`: a corpus through a bundle into Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.bundle import content_id, peek_manifest, pin_bundle, text_settings
from raytagger.bundle.loaded import check_k
from raytagger.corpus import check_splits, list_documents, read_source_labels
from raytagger.errors import StoreError
from raytagger.progress import Progress, silent
from raytagger.schema import REJECT_SCHEMA
from raytagger.settings import RetagRun
from raytagger.store import Store, absolute, check_writable, join, parent, placed
from raytagger.stream.duplicates import set_aside_duplicates
from raytagger.stream.job import TagJob
from raytagger.stream.run import TagSummary, tag_stream
from raytagger.stream.units import Done, is_unit_file

RESULT_SCHEMA = pa.schema(
    [
        ("doc_id", pa.string()),
        ("label_ids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("blank", pa.bool_()),
    ]
)


def tag_documents(
    bundle: str,
    run: RetagRun,
    output: str,
    k: int,
    progress: Progress = silent,
) -> TagSummary:
    """Tags the documents of `run.retag` with a bundle into Parquet; see `tag_to_parquet`.

    Args:
        bundle: `OUT` or `OUT/<version>`.
        run: documents, splits, labels, and where it runs.
        output: where the result goes.
        k: labels a document, whatever the bundle keeps as tags.
    """
    store, run = Store(run.storage), placed(run)
    pinned, labels = pin_bundle(absolute(bundle), store), run.retag.labels
    source = replace(run.source, documents=run.retag.documents, labels=labels or run.source.labels)
    source = text_settings(peek_manifest(pinned, store), source)
    check_splits(store, source, run.retag.splits)
    job = TagJob(
        bundle=pinned,
        source=source,
        k=check_k(k),
        data="",
        markers="",
        run_id="",
        labels=labels,
        label_set=read_source_labels(store, source).fingerprint if labels else "",
        splits=run.retag.splits,
        cluster=run.cluster,
        storage=run.storage,
    )
    return tag_to_parquet(job, absolute(output), progress)


def tag_to_parquet(job: TagJob, output: str, progress: Progress = silent) -> TagSummary:
    """Writes `doc_id, label_ids, scores, blank`, best first, one row a document in the corpus's order.

    One file where `output` ends in `.parquet`, else a directory; rejects beside it as `OUTPUT.rejects.parquet`.
    Of several documents with one id the first is kept and the others are rejected. A killed run started again
    tags only what is missing.

    Args:
        job: `data`, `markers` and `run_id` are set here.
        output: where the result goes.
    """
    store = Store(job.storage)
    read = job.source.documents, job.labels, job.bundle
    check_writable(store, output, not output.endswith(".parquet"), apart_from=read)
    check_writable(store, rejects_uri(output), apart_from=read)
    if output.endswith(".parquet"):
        check_writable(store, parent(absolute(output)), folder=True, apart_from=(job.bundle,))
    _refuse_foreign(store, output)
    job = _placed(job, output, store)
    summary = tag_stream(job, progress)
    set_aside_duplicates(store, job, summary)
    _write_rejects(store, job, output, summary)
    if output.endswith(".parquet"):
        with store.writing(output) as file, pq.ParquetWriter(file, _schema(store, job, summary)) as writer:
            for rows in _rows(store, job, summary):
                writer.write_table(rows)
        store.delete(parent(job.markers))
    else:
        # The markers first: a run killed in between must not find markers of units that are gone.
        store.delete(job.markers)
        _drop_strangers(store, job, summary.units)
    return summary


def rejects_uri(output: str) -> str:
    """Where the rejects of a result lie."""
    return f"{output.rstrip('/')}.rejects.parquet"


def _placed(job: TagJob, output: str, store: Store) -> TagJob:
    run_id = job.key(content_id(peek_manifest(job.bundle, store)), list_documents(store, job.source))
    if output.endswith(".parquet"):
        staging = join(parent(output), f".{output.rstrip('/').rsplit('/', 1)[-1]}.{run_id}")
        return replace(job, data=join(staging, "data"), markers=join(staging, "markers"), run_id=run_id)
    return replace(job, data=output, markers=join(output, "_runs", run_id), run_id=run_id)


def _rows(store: Store, job: TagJob, summary: TagSummary) -> Iterator[pa.Table]:
    for done in summary.units:
        if done.path:
            with store.open(join(job.data, done.path)) as file:
                rows = pq.read_table(file)
            if "blank" not in rows.column_names:  # of a unit that an older version tagged before it was killed
                rows = rows.append_column("blank", pa.nulls(len(rows), pa.bool_()))
            yield rows


def _schema(store: Store, job: TagJob, summary: TagSummary) -> pa.Schema:
    return next((rows.schema for rows in _rows(store, job, summary)), RESULT_SCHEMA)


def _drop_strangers(store: Store, job: TagJob, units: list[Done]) -> None:
    """Removes the units that an earlier run or a lost attempt left in the directory."""
    ours = {done.path for done in units}
    for entry in store.list(job.data):
        name = entry.uri.rsplit("/", 1)[-1]
        if is_unit_file(name) and name not in ours:
            store.delete(entry.uri)


def _refuse_foreign(store: Store, output: str) -> None:
    if not store.exists(output):
        return
    if output.endswith(".parquet"):
        if not _is_result(store, output):
            raise StoreError(
                "a file of something else is there",
                got=output,
                expected="a new file or one that `raytagger tag` wrote",
                remedy="Name another file.",
            )
        return
    foreign = [entry.uri for entry in store.list(output) if not is_unit_file(entry.uri.rsplit("/", 1)[-1])]
    if foreign:
        raise StoreError(
            "the output directory holds other files",
            got=foreign[:3],
            expected="a new directory or one that `raytagger tag` wrote",
            remedy="Name another directory.",
        )


def _is_result(store: Store, uri: str) -> bool:
    with store.open(uri) as file:
        try:
            return set(RESULT_SCHEMA.names[:3]) <= set(pq.read_schema(file).names)
        except pa.ArrowException:
            return False


def _write_rejects(store: Store, job: TagJob, output: str, summary: TagSummary) -> None:
    rows = [{**reject, "run_id": job.run_id} for done in summary.units for reject in done.rejects]
    with store.writing(rejects_uri(output)) as file:
        pq.write_table(pa.Table.from_pylist(rows, schema=REJECT_SCHEMA), file)
