"""The stream on Ray Data: readers and taggers are stages with back-pressure; documents never pass the driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pyarrow as pa
import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raytagger.stream.cluster import READER_CPUS, READERS, one_row_blocks, own_errors, share_out, worker_pool
from raytagger.stream.job import TagJob
from raytagger.stream.reading import Files, Unit, read_units
from raytagger.stream.stage import UnitTagger
from raytagger.stream.units import Done


def tag_units(job: TagJob, files: Files, finished: frozenset[str]) -> Iterator[Done]:
    """Tags what is not finished on the connected Ray; a marker a unit."""
    with one_row_blocks():
        units = groups_of(files).map_batches(
            _Reader(job, files, finished),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=READER_CPUS,
            compute=ray.data.TaskPoolStrategy(size=min(READERS, len(files.groups))),
        )
        _, resources = share_out(job.cluster)
        markers = units.map_batches(
            TagStage,
            fn_constructor_args=(job, start_ledger()),
            batch_size=1,
            batch_format="pyarrow",
            compute=worker_pool(job.cluster),
            **resources,
        )
        with own_errors("no worker can load the bundle"):
            for row in markers.iter_rows():
                yield Done(**json.loads(row["done"]))


def groups_of(files: Files) -> ray.data.Dataset:
    """Rows `item`: the numbers of the groups, a block each."""
    return ray.data.from_items(list(range(len(files.groups))), override_num_blocks=len(files.groups))


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Ledger:
    """Knows which units are being tagged, and how often each has killed its worker; dead, it counts anew."""

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


def start_ledger() -> Any:
    """A ledger beside the driver: it dies of no other machine's death, and its own is no end of the run."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return Ledger.options(scheduling_strategy=here).remote()


@dataclass(frozen=True)
class RemoteLedger:
    """A ledger as a worker sees it."""

    patience: ClassVar[int] = 2  # Ray begins a dead worker's batch again, and once may be chance
    actor: Any

    def begin(self, unit: str) -> int:
        """See `raytagger.stream.stage.Ledger`."""
        return ray.get(self.actor.begin.remote(unit))  # pyright: ignore[reportReturnType] - of an untyped handle

    def end(self, unit: str) -> None:
        """See `raytagger.stream.stage.Ledger`."""
        ray.get(self.actor.end.remote(unit))


@dataclass(frozen=True)
class _Reader:
    """The read stage as a picklable callable. Output rows: `unit`, `documents` and `rejects` (Arrow IPC)."""

    job: TagJob
    files: Files
    finished: frozenset[str]

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for number in batch["item"].to_pylist():
            for unit in read_units(self.job, self.files, self.files.groups[number], self.finished):
                packed = {"documents": to_ipc(unit.documents), "rejects": to_ipc(unit.rejects)}
                columns = {name: pa.array([data], pa.large_binary()) for name, data in packed.items()}
                yield pa.table({"unit": [unit.name], **columns})


class TagStage:
    """The tag stage as an actor of Ray Data. Output rows: `done`, the marker's JSON."""

    def __init__(self, job: TagJob, ledger: Any) -> None:
        self._tagger = UnitTagger(job, RemoteLedger(ledger))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Tags the units of a batch."""
        units = [
            Unit(row["unit"], from_ipc(row["documents"]), from_ipc(row["rejects"])) for row in batch.to_pylist()
        ]
        return pa.table({"done": [json.dumps(asdict(self._tagger.tag(unit))) for unit in units]})


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
