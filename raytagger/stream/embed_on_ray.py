"""Slabs of label texts on Ray Data: a pool of workers, each with an encoder of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import ray
import ray.data

from raytagger.encoders import lazy_encoder
from raytagger.errors import SettingsError
from raytagger.settings import ClusterSettings
from raytagger.store import Store
from raytagger.stream.cluster import one_row_blocks, own_errors, share_out, worker_pool
from raytagger.stream.on_ray import RemoteLedger, start_ledger
from raytagger.stream.slabs import EmbedJob, Failure, Report, Slab, SlabEmbedder, cut_slabs, place_encoder

PATIENCE_S = 30.0
NO_WORKER = "no worker can load the label encoder"


@dataclass(frozen=True)
class OnRay:
    """A pool of workers; see `raytagger.stream.embed.Here`."""

    job: EmbedJob
    cluster: ClusterSettings
    licence: str

    @classmethod
    def ask(cls, job: EmbedJob, cluster: ClusterSettings, say: Callable[[str], None]) -> OnRay:
        """Asks a worker about the encoder, whose files the machine that drives the run may not have."""
        if job.encoder.device == "auto":
            # A worker sees the GPU that Ray gave it; without one it must not crowd a GPU that it can merely see.
            job = replace(job, encoder=replace(job.encoder, device="cuda" if cluster.use_gpu else "cpu"))
        _, resources = share_out(cluster)
        answer = _describe.options(**resources).remote(job)
        with own_errors(NO_WORKER):
            while not ray.wait([answer], timeout=PATIENCE_S)[0]:
                kind = "GPU" if cluster.use_gpu else "CPU"
                there = ray.cluster_resources().get(kind, 0)
                say(f"waiting for a worker to load {job.encoder.path}; the cluster has {there:g} {kind}s")
            identity, licence = ray.get(answer)
        return cls(replace(job, identity=identity), cluster, licence)

    def embed(self, texts: list[str]) -> Iterator[Report]:
        """Encodes and stores texts; a report a slab."""
        workers, resources = share_out(self.cluster)
        slabs = [slab._asdict() for slab in cut_slabs(texts, workers)]
        with one_row_blocks(), own_errors(NO_WORKER):
            reports = ray.data.from_items(slabs, override_num_blocks=len(slabs)).map_batches(
                EmbedStage,
                fn_constructor_args=(self.job, start_ledger()),
                batch_size=1,
                batch_format="pyarrow",
                compute=worker_pool(self.cluster, len(slabs)),
                **resources,
            )
            for row in reports.iter_rows():
                encoded, failed = json.loads(row["report"])
                yield Report(encoded, [Failure(*failure) for failure in failed])


@ray.remote
def _describe(job: EmbedJob) -> tuple[str, str]:
    encoder = lazy_encoder(job.encoder, Store(job.storage), partial(place_encoder, job))
    return encoder.identity, encoder.licence


class EmbedStage:
    """A worker of the pool. Input rows: `name` and `texts` of a slab. Output rows: `report`, as JSON."""

    def __init__(self, job: EmbedJob, ledger: Any) -> None:
        encoder = place_encoder(job)
        if encoder.identity != job.identity:
            raise SettingsError(
                "the workers do not load the same encoder",
                got=f"{encoder.identity} here, {job.identity} elsewhere, from {job.encoder.path}",
                remedy="Put the model into object storage and name that.",
            )
        self._embedder = SlabEmbedder(job, encoder, RemoteLedger(ledger))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Encodes and stores the slabs of a batch."""
        reports = [self._embedder.embed(Slab(**row)) for row in batch.to_pylist()]
        return pa.table({"report": [json.dumps(report) for report in reports]})
