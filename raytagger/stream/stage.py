"""The tag stage: a worker holds a tagger, takes units, writes them, and puts aside what cannot be tagged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute

from raytagger.bisect import SUSPECTS, Tagged, tag_bisecting
from raytagger.bundle import load
from raytagger.schema import PAD, Scores
from raytagger.store import Store
from raytagger.stream.isolate import IsolatedTagger
from raytagger.stream.job import TagJob, read_job_labels
from raytagger.stream.reading import Unit
from raytagger.stream.units import Done, finish_unit

pc: Any = pyarrow.compute  # makes its functions at import, where no type checker sees them


class Ledger(Protocol):
    """Knows what is being worked on.

    Attributes:
        patience: deaths after which a unit is better taken apart than tried again.
    """

    patience: ClassVar[int]

    def begin(self, unit: str) -> int:
        """Notes that a unit is begun; how often it was begun before without an end."""
        ...

    def end(self, unit: str) -> None:
        """Notes that a unit is done."""
        ...


class UnitTagger:
    """Tags units, one a call, wherever it stands: in an actor of Ray or in this process."""

    def __init__(self, job: TagJob, ledger: Ledger) -> None:
        self._job, self._ledger = job, ledger
        self._store = Store(job.storage)
        self._tagger = load(job.bundle, self._store)
        if job.labels:
            self._tagger = self._tagger.with_labels(read_job_labels(self._store, job.label_source, job.label_set))
        self._label_ids = np.array(self._tagger.labels.ids, object)

    def tag(self, unit: Unit) -> Done:
        """Tags and writes a unit; gives its marker."""
        documents = unit.documents
        fatal = self._ledger.begin(unit.name) >= self._ledger.patience
        texts: list[str] = documents["text"].to_pylist()
        tagged = self._tag_isolated(texts) if fatal else tag_bisecting(self._tag, texts)
        rejects = [
            *unit.rejects.drop_columns(["run_id"]).to_pylist(),
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
        table = self._table(documents, texts, tagged)
        blank = pc.sum(table["blank"]).as_py() if len(table) else 0
        facts = {"unit": unit.name, "rejects": rejects, "cut": tagged.cut, "blank": blank}
        done = finish_unit(self._store, self._job.data, self._job.markers, table, facts)
        self._ledger.end(unit.name)
        return done

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
        blank_B = scores.empty_B  # before labels below the threshold are left out
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
        columns["blank"] = pa.array(blank_B)
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
