"""File formats of documents and labels: bytes in, raw columns out, a chunk at a time.

A format is a function (open file, request) -> chunks. Which one is chosen by `source.format`, else by the
file's ending; `.gz` and `.zst` around any of them but Parquet are unpacked on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.corpus.compression import open_unpacked, strip_compression
from raytagger.corpus.delimited import read_csv, read_tsv
from raytagger.corpus.jsonl import read_jsonl
from raytagger.corpus.rows import BadRow, Format, Kind, RawChunk, Request
from raytagger.corpus.xmc_filter import read_pairs
from raytagger.corpus.xmc_json import read_json, read_xmc_json, split_of
from raytagger.corpus.xmc_sparse import read_xmc_sparse
from raytagger.errors import CorpusError
from raytagger.store import FileEntry, Store

__all__ = ["BadRow", "FORMATS", "Format", "Kind", "RawChunk", "find_format", "read_parquet", "read_raw"]

ENDINGS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "xmc-sparse",
}


def read_raw(store: Store, entry: FileEntry, name: str, request: Request) -> Iterator[RawChunk]:
    """Reads one file in chunks.

    Args:
        store: where the file lies.
        entry: the file.
        name: the format's name; empty: by the file's ending.
        request: rows of a chunk, and the columns to deliver where the file has them.

    Raises:
        CorpusError: the format is unknown, or the file is damaged.
    """
    read = find_format(entry.uri, name)
    if read in XMC and "labels" in request.kinds:
        request = replace(request, pairs=read_pairs(store, entry.uri, split_of(request.name)))
    with open_unpacked(store, entry.uri) as file:
        yield from read(file, request)


def find_format(uri: str, name: str = "") -> Format:
    """The reader for a file, by name or by ending."""
    if not name:
        bare = strip_compression(uri).lower()
        name = next((known for ending, known in ENDINGS.items() if bare.endswith(ending)), "")
    if name not in FORMATS:
        raise CorpusError(
            f"no reader for {uri}",
            got=name or None,
            expected=", ".join(FORMATS),
            remedy="Set source.format (of a label file source.label_format), or leave the file out of the folder.",
        )
    return FORMATS[name]


def read_parquet(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Parquet, by row batches; never more than a row group in memory.

    Raises:
        CorpusError: a column that is asked for stands there twice, or the file lies in a compressed one.
    """
    if not file.seekable():
        raise CorpusError(
            f"{request.uri} is Parquet inside a compressed file, which cannot be read",
            remedy="Unpack it; Parquet compresses its own columns.",
        )
    parquet = pq.ParquetFile(file)
    names = parquet.schema_arrow.names
    chosen = request.choose(names)
    wanted = [name for name in names if name in chosen]
    if len(set(wanted)) < len(wanted):
        raise CorpusError(f"{request.uri} names columns twice", got=wanted, expected="unique names")
    start, marks = 0, _find_marks(parquet)
    for batch in parquet.iter_batches(batch_size=request.rows, columns=wanted):
        positions = list(range(start + 1, start + 1 + batch.num_rows))
        yield RawChunk(start, pa.table(batch), positions, names=tuple(names), marks=marks)
        start += batch.num_rows


def _find_marks(parquet: pq.ParquetFile) -> tuple[str, ...]:
    """The columns whose statistics in the first row group say that they hold nothing but 0 and 1."""
    if not parquet.num_row_groups:
        return ()
    group, found = parquet.metadata.row_group(0), []
    for place in range(group.num_columns):
        column = group.column(place)
        limits = column.statistics
        if limits is None or not limits.has_min_max or "." in column.path_in_schema:
            continue
        if limits.min in (0, 1) and limits.max in (0, 1):
            found.append(column.path_in_schema)
    return tuple(found)


FORMATS: dict[str, Format] = {
    "parquet": read_parquet,
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_csv,
    "tsv": read_tsv,
    "xmc-json": read_xmc_json,
    "xmc-sparse": read_xmc_sparse,
}
XMC = (read_json, read_xmc_json, read_xmc_sparse)
