"""Datasets of Hugging Face: Arrow files of `save_to_disk`, Parquet of the hub, and the names of their classes.

`datasets` keeps the features in the schema's metadata under the key `huggingface`; classes stand in the columns as
integers, and become their names here.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from raytagger.corpus.compression import BUFFER_BYTES
from raytagger.corpus.exports.items import LISTS
from raytagger.corpus.rows import STRINGS, BadRow, Kind, RawChunk, Request
from raytagger.errors import CorpusError
from raytagger.store import join, parent

KEY = b"huggingface"
SHARD = re.compile(r"data-(\d+)-of-\d+\.arrow")
PARQUET_MAGIC = b"PAR1"
FILE_MAGIC = b"ARROW1"  # Arrow's file format; a stream has none
UNLABELLED = -1  # what `datasets` writes where a class is not known

LABEL_COLUMNS = {"label_id", "title"}  # a file with one of them is itself a label file

Classes = dict[str, list[str]]


@dataclass(frozen=True)
class _Plan:
    """Which column of the file becomes which, and what is made where the file has none."""

    columns: dict[str, str]  # delivered column to that of the file
    kinds: dict[str, Kind]
    classes: Classes
    prefix: str  # of made ids; "" where the file has ids
    split: str | None


def read_huggingface(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """An Arrow file of `save_to_disk` or a Parquet file of the hub; as labels, the names of its classes.

    Where the data have no id it is made of split, file and row; the split is the folder's name where the dataset
    has splits. Without a column `labels`, the only column of classes gives them.

    Raises:
        CorpusError: several columns hold classes and nothing tells which are the labels.
    """
    magic = b""
    if file.seekable():
        magic = file.read(len(FILE_MAGIC))
        file.seek(0)
    if magic.startswith(PARQUET_MAGIC):
        yield from read_dataset(pq.ParquetFile(file), request)
    elif magic == FILE_MAGIC:
        opened = ipc.open_file(file)
        batches = (opened.get_batch(number) for number in range(opened.num_record_batches))
        yield from _read(batches, opened.schema, request)
    else:
        stream = ipc.open_stream(cast(Any, io.BufferedReader(cast(Any, file), BUFFER_BYTES)))
        yield from _read(stream, stream.schema, request)


def is_dataset(schema: pa.Schema) -> bool:
    """Whether `datasets` wrote a file of this schema."""
    return KEY in (schema.metadata or {})


def read_dataset(parquet: pq.ParquetFile, request: Request) -> Iterator[RawChunk]:
    """A Parquet file that `datasets` wrote, as `read_huggingface`; never more than a row group in memory."""
    schema = parquet.schema_arrow
    columns = list(set(_make_plan(schema, request).columns.values()))
    yield from _read(parquet.iter_batches(batch_size=request.rows, columns=columns), schema, request)


def _read(batches: Iterable[pa.RecordBatch], schema: pa.Schema, request: Request) -> Iterator[RawChunk]:
    plan = _make_plan(schema, request)
    if "label_id" in request.kinds and plan.classes and not LABEL_COLUMNS & plan.columns.keys():
        yield _class_labels(plan, request)
        return
    start = 0
    for table in _recut(batches, request.rows):
        yield _deliver(table, start, plan, tuple(schema.names))
        start += len(table)


def _make_plan(schema: pa.Schema, request: Request) -> _Plan:
    classes = _find_classes(schema)
    kinds = request.choose(schema.names)
    columns = {name: name for name in kinds}
    if "labels" in request.kinds and not kinds.keys() & {"labels"} and (name := _find_labels(classes, request)):
        kinds["labels"], columns["labels"] = request.kinds["labels"], name
    split = _find_split(request) if "split" in request.kinds and "split" not in columns else None
    has_id = Kind.ID in kinds.values()
    shard = SHARD.fullmatch(request.name)
    own = shard[1] if shard and split else request.name.split(".", 1)[0]
    return _Plan(columns, kinds, classes, "" if has_id else "-".join(filter(None, (split, own))), split)


def _find_classes(schema: pa.Schema) -> Classes:
    """Names of classes by column, alone or in a list; `datasets` has written lists in three ways."""
    try:
        features = json.loads((schema.metadata or {}).get(KEY, b"{}"))["info"]["features"]
        found = {name: _names_of(feature) for name, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: names for name, names in found.items() if names and name in schema.names}


def _names_of(feature: Any) -> list[str] | None:
    if isinstance(feature, list) and len(feature) == 1:
        return _names_of(feature[0])
    if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
        return [str(name) for name in feature.get("names") or ()] or None
    return _names_of(feature["feature"]) if isinstance(feature, dict) and "feature" in feature else None


def _find_labels(classes: Classes, request: Request) -> str | None:
    """The column of classes that gives the labels, where no column says so by its name or by `source.map`."""
    if not classes:
        return None
    if len(classes) > 1:
        raise CorpusError(
            f"{request.uri} has several columns of classes",
            got=sorted(classes),
            remedy=f'Name the one by source.map, such as source.map={{labels="{sorted(classes)[0]}"}}.',
        )
    return next(iter(classes))


def _find_split(request: Request) -> str | None:
    """The folder's name, where `save_to_disk` wrote a dataset of several splits."""
    folder = parent(request.uri)
    if SHARD.fullmatch(request.name) and request.store.exists(join(parent(folder), "dataset_dict.json")):
        return folder.rstrip("/").rsplit("/", 1)[-1]
    return None


def _class_labels(plan: _Plan, request: Request) -> RawChunk:
    if len(plan.classes) > 1 and "labels" not in plan.classes:
        raise CorpusError(
            f"{request.uri} has several columns of classes",
            got=sorted(plan.classes),
            expected="one, or one named labels",
        )
    names = plan.classes.get("labels") or next(iter(plan.classes.values()))
    return RawChunk(0, pa.table({"label_id": names, "title": names}), list(range(1, 1 + len(names))))


def _recut(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Tables of `rows` rows, whatever the batches of the file."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        while sum(part.num_rows for part in waiting) >= rows:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, rows)
            waiting = table.slice(rows).to_batches()
    if waiting:
        yield pa.Table.from_batches(waiting)


def _deliver(table: pa.Table, start: int, plan: _Plan, names: tuple[str, ...]) -> RawChunk:
    flaws: dict[int, str] = {}
    columns: dict[str, Any] = {}
    for target, name in plan.columns.items():
        column = table[name]
        if name in plan.classes:
            listed = plan.kinds[target] in LISTS
            column = _name_classes(column, plan.classes[name], listed, f"{name}: ", flaws)
        columns[target] = column
    positions = list(range(start + 1, start + 1 + len(table)))
    if plan.prefix:
        columns["doc_id"] = pa.array([f"{plan.prefix}-{start + row}" for row in range(len(table))], pa.string())
    if plan.split:
        columns["split"] = pa.array([plan.split] * len(table), pa.string())
    ids = next((columns[name] for name in ("doc_id", "id", "uid") if name in columns), None)
    bad = [
        BadRow(positions[row], "wrong_type", flaw, "" if ids is None else str(ids[row].as_py() or ""))
        for row, flaw in sorted(flaws.items())
    ]
    kept = [row for row in range(len(table)) if row not in flaws]
    delivered = pa.table(columns)
    if flaws:
        delivered, positions = delivered.take(pa.array(kept, pa.int64())), [positions[row] for row in kept]
    return RawChunk(start, delivered, positions, bad, names)


def _name_classes(column: Any, names: list[str], listed: bool, place: str, flaws: dict[int, str]) -> pa.Array:
    """Names for numbers, in lists where `listed`; a number that has no name is a flaw of its row."""
    found: list[Any] = []
    for row, value in enumerate(column.to_pylist()):
        numbers = value if isinstance(value, list) else [] if value is None else [value]
        wrong = [number for number in numbers if number is None or not UNLABELLED <= number < len(names)]
        if wrong:
            flaws[row] = f"{place}{wrong[0]} is none of {len(names)} classes"
            numbers = []
        known = [names[number] for number in numbers if number != UNLABELLED]
        unknown = value is None or (not isinstance(value, list) and not known)
        found.append(None if unknown else known if listed or isinstance(value, list) else known[0])
    is_list = listed or pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    return pa.array(found, STRINGS if is_list else pa.string())
