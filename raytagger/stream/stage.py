"""The tag stage: an actor holds a tagger, takes units, writes them, and puts aside what cannot be tagged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from raytagger.bundle import load
from raytagger.schema import PAD, Scores
from raytagger.store import Store
from raytagger.stream.bisect import SUSPECTS, Tagged, tag_bisecting
from raytagger.stream.isolate import IsolatedTagger
from raytagger.stream.job import TagJob, read_job_labels
from raytagger.stream.units import finish_unit

DEATHS_BEFORE_ISOLATION = 2


@ray.remote(num_cpus=0)
class Ledger:
    """Knows which units are being tagged, and how often each has killed its worker."""

    def __init__(self) -> None:
        self._begun: dict[str, int] = {}

    def begin(self, unit: str) -> int:
        """Notes that a unit is begun; how often it was begun before without an end."""
        deaths = self._begun.get(unit, 0)
        self._begun[unit] = deaths + 1
        return deaths

    def end(self, unit: str) -> None:
        """Notes that a unit is done."""
        self._begun.pop(unit, None)


class TagStage:
    """A worker of the stream: one call tags one unit.

    Input rows: `unit`, `documents` and `rejects` (Arrow IPC). Output rows: `unit`, `done` (the marker's JSON).
    """

    def __init__(self, job: TagJob, ledger: Any) -> None:
        self._job, self._ledger = job, ledger
        self._store = Store(job.storage)
        self._tagger = load(job.bundle, self._store)
        if job.labels:
            self._tagger = self._tagger.with_labels(read_job_labels(self._store, job.labels, job.label_set))
        self._label_ids = np.array(self._tagger.labels.ids, object)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Tags the units of a batch."""
        rows = batch.to_pylist()
        return pa.table({"unit": [row["unit"] for row in rows], "done": [self._tag_unit(row) for row in rows]})

    def _tag_unit(self, row: dict[str, Any]) -> str:
        unit, documents = row["unit"], from_ipc(row["documents"])
        deaths: int = ray.get(self._ledger.begin.remote(unit))  # pyright: ignore[reportAssignmentType] - of an untyped handle
        texts: list[str] = documents["text"].to_pylist()
        tagged = self._tag_isolated(texts) if deaths >= DEATHS_BEFORE_ISOLATION else tag_bisecting(self._tag, texts)
        rejects = [
            *from_ipc(row["rejects"]).drop_columns(["run_id"]).to_pylist(),
            *(
                {
                    "doc_id": documents["doc_id"][bad.row].as_py(),
                    "stage": "tag",
                    "reason": bad.reason,
                    "error": bad.error,
                }
                for bad in tagged.rejected
            ),
        ]
        facts = {"unit": unit, "rejects": rejects, "cut": tagged.cut}
        table = self._table(documents, texts, tagged)
        done = finish_unit(self._store, self._job.data, self._job.markers, table, facts)
        ray.get(self._ledger.end.remote(unit))
        return json.dumps(asdict(done))

    def _tag(self, texts: Sequence[str]) -> tuple[Scores, int]:
        features = self._tagger.encode(texts)
        return self._tagger.search(features, self._job.k), int(features.cut_B.sum())

    def _tag_isolated(self, texts: Sequence[str]) -> Tagged[Scores]:
        isolated = IsolatedTagger(self._job)
        try:
            return tag_bisecting(isolated.tag, texts, SUSPECTS)
        finally:
            isolated.close()

    def _table(self, documents: pa.Table, texts: list[str], tagged: Tagged[Scores]) -> pa.Table:
        order = np.argsort(tagged.rows, kind="stable")
        good = [tagged.rows[place] for place in order]
        if not good:
            return pa.table({})
        scores = Scores.concatenate(tagged.parts)
        scores = Scores(scores.label_BK[order], scores.score_BK[order])
        if self._job.tags:
            scores = self._tagger.keep(scores, self._job.k)
        label_ids, values = as_lists(scores, self._label_ids)
        columns: dict[str, Any] = {"doc_id": documents["doc_id"].take(pa.array(good))}
        if self._job.provenance:
            columns["text_hash"] = [text_hash(texts[row]) for row in good]
        columns |= {"label_ids": label_ids, "scores": values}
        now = datetime.now(UTC)
        columns |= {name: [value] * len(good) for name, value in self._job.provenance.items()}
        if self._job.provenance:
            columns["tagged_at"] = pa.array([now] * len(good), pa.timestamp("us", tz="UTC"))
        for name in self._job.source.columns:
            columns[name] = documents[name].take(pa.array(good))
        return pa.table(columns)


def as_lists(scores: Scores, label_ids: np.ndarray) -> tuple[pa.Array, pa.Array]:
    """Label ids and scores as Arrow lists, without the padding."""
    kept_BK = scores.label_BK != PAD
    offsets = pa.array(np.concatenate([[0], np.cumsum(kept_BK.sum(axis=1))]), pa.int32())
    ids = pa.array(label_ids[scores.label_BK[kept_BK]], pa.string())
    values = pa.array(scores.score_BK[kept_BK], pa.float32())
    return pa.ListArray.from_arrays(offsets, ids), pa.ListArray.from_arrays(offsets, values)


def text_hash(text: str) -> str:
    """Thirty-two hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def to_ipc(table: pa.Table) -> bytes:
    """A table as one Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_ipc(data: bytes) -> pa.Table:
    """Reads what `to_ipc` wrote."""
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
