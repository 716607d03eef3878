"""Units of work: consecutive documents, tagged and written as one, and the marker that says so.

    DATA/<unit>-<attempt>.parquet     written first, under a name that no other attempt uses
    MARKERS/<unit>.json               created last, once: the first attempt to finish owns the unit

A killed run leaves data without a marker, which nobody reads. A worker that outlives its driver can do no harm:
either its marker is the first, and counts, or it is refused.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.store import Store, at_once, join

UNITS = 2  # raised when the same documents are cut into other units: a part of the run's fingerprint


@dataclass(frozen=True)
class Done:
    """The marker of a finished unit.

    Attributes:
        unit: `<number of its first file>-<first row in that>`.
        path: the data file below DATA, "" where every document was rejected.
        size: its bytes.
        rows: documents in it.
        rejects: quarantine rows without `run_id`.
        cut: documents longer than the encoder reads.
        blank: documents of which nothing is known; 0 in markers of older versions.
    """

    unit: str
    path: str
    size: int
    rows: int
    rejects: list[dict[str, str]] = field(default_factory=list)
    cut: int = 0
    blank: int = 0


def unit_name(file_number: int, start: int) -> str:
    """Sorts as the documents do."""
    return f"{file_number:06d}-{start:012d}"


def is_unit_file(name: str) -> bool:
    """Whether a file is named as data files of units are, those without their duplicates included."""
    return re.fullmatch(r"\d{6}-\d{12}-[0-9a-f]{12}(-unique)?\.parquet", name) is not None


def finish_unit(store: Store, data: str, markers: str, table: pa.Table, done: dict[str, Any]) -> Done:
    """Writes a unit's rows and its marker; gives the marker that counts, ours or an earlier attempt's."""
    path, size = "", 0
    if len(table):
        path = f"{done['unit']}-{uuid.uuid4().hex[:12]}.parquet"
        with store.writing(join(data, path)) as file:
            pq.write_table(table, file, compression="zstd")
            size = file.tell()
    ours = Done(path=path, size=size, rows=len(table), **done)
    marker = join(markers, f"{ours.unit}.json")
    if store.create_bytes(marker, json.dumps(asdict(ours)).encode()):
        return ours
    if path:
        store.delete(join(data, path))
    return read_marker(store, marker)


def read_marker(store: Store, uri: str) -> Done:
    """One marker."""
    return Done(**json.loads(store.read_bytes(uri)))


def finished_units(store: Store, markers: str) -> list[Done]:
    """All finished units in the order of their documents."""
    if not store.exists(markers):
        return []
    uris = [entry.uri for entry in store.list(markers) if entry.uri.endswith(".json")]
    return at_once(lambda uri: read_marker(store, uri), uris)
