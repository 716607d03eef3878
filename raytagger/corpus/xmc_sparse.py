"""The extreme-classification repository's feature files: a header `N D L`, then `l1,l2 f:v f:v` a document.

They hold no text. `read_sparse` gives their matrices; as documents they have ids, labels and features only.

Source: the Extreme Classification Repository, manikvarma.org/downloads/XC/XMLRepository.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from scipy import sparse

from raytagger.corpus.compression import open_unpacked
from raytagger.corpus.jsonl import iterate_lines
from raytagger.corpus.rows import STRINGS, BadRow, RawChunk, Request, chunked
from raytagger.corpus.xmc_filter import leave_out
from raytagger.corpus.xmc_json import split_of
from raytagger.errors import CorpusError
from raytagger.schema import FloatArray, IntArray
from raytagger.store import Store

CHUNK_ROWS = 8192
FEATURES = pa.list_(pa.struct([("index", pa.int32()), ("value", pa.float32())]))
FIRST_LINE = 2  # of the documents, below the header
NAMES = ("doc_id", "text", "labels", "split", "features")


class SparseChunk(NamedTuple):
    """Consecutive documents: bool (B, L) and float32 (B, V) in CSR, their ids, and the rows that were bad."""

    label_BL: sparse.csr_array
    feature_BV: sparse.csr_array
    doc_ids: list[str]
    bad: list[BadRow]


class _Shape(NamedTuple):
    documents: int
    features: int
    labels: int


class _Block(NamedTuple):
    start: int
    positions: list[int]
    labels: list[IntArray]
    indices: list[IntArray]
    values: list[FloatArray]
    bad: list[BadRow]


def read_sparse(store: Store, uri: str, rows: int = CHUNK_ROWS) -> Iterator[SparseChunk]:
    """The label and feature matrices of a file, `rows` documents at a time.

    Raises:
        CorpusError: the header is not `N D L`, or the file has not as many documents as it says.
    """
    with open_unpacked(store, uri) as file:
        request = Request(uri, rows, {})
        lines = iterate_lines(file, uri)
        shape = _read_header(lines, uri)
        for block in _iterate_blocks(lines, shape, request):
            ones = [np.ones(len(labels), np.bool_) for labels in block.labels]
            yield SparseChunk(
                _to_csr(block.labels, ones, shape.labels),
                _to_csr(block.indices, block.values, shape.features),
                _name_rows(block.positions, request),
                block.bad,
            )


def read_xmc_sparse(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """`doc_id` (split and row), `labels` (indices as strings), `split`, `features`; `text` is null.

    A line that is not of the form, or that names a label or feature out of bounds, is a bad row.

    Raises:
        CorpusError: the header is not `N D L`, or the file has not as many documents as it says.
    """
    lines = iterate_lines(file, request.uri)
    for block in _iterate_blocks(lines, _read_header(lines, request.uri), request):
        rows = len(block.positions)
        columns: dict[str, Any] = {
            "doc_id": pa.array(_name_rows(block.positions, request), pa.string()),
            "text": pa.nulls(rows, pa.string()),
            "labels": pa.array([list(map(str, labels)) for labels in block.labels], STRINGS),
            "split": pa.array([split_of(request.name)] * rows, pa.string()),
        }
        if "features" in request.kinds:
            columns["features"] = _to_structs(block)
        chosen = {name: column for name, column in columns.items() if name in request.kinds}
        places = [row + FIRST_LINE for row in block.positions]
        chunk = RawChunk(block.start, pa.table(chosen), places, block.bad, NAMES)
        yield leave_out(chunk, request.pairs, FIRST_LINE)


def _read_header(lines: Iterator[bytes], uri: str) -> _Shape:
    header = next(lines, b"")
    numbers = header.split()
    if len(numbers) != 3 or not all(number.isdigit() for number in numbers):
        raise CorpusError(
            f"{uri} does not begin with a header",
            got=header[:80].decode("utf-8", "replace").strip(),
            expected="three numbers: documents, features, labels",
            remedy="Name source.format if the file is of another format.",
        )
    return _Shape(*map(int, numbers))


def _iterate_blocks(lines: Iterator[bytes], shape: _Shape, request: Request) -> Iterator[_Block]:
    read = 0
    for start, chunk in chunked(lines, request.rows):
        kept = chunk[: max(0, shape.documents - start)]
        if any(line.strip() for line in chunk[len(kept) :]):
            raise _wrong_length(request.uri, "more lines", shape)
        read = start + len(kept)
        yield _parse(start, kept, shape)
    if read < shape.documents:
        raise _wrong_length(request.uri, f"{read} lines", shape)


def _wrong_length(uri: str, got: str, shape: _Shape) -> CorpusError:
    return CorpusError(f"{uri} is cut off or its header is wrong", got=got, expected=f"{shape.documents} documents")


def _parse(start: int, lines: list[bytes], shape: _Shape) -> _Block:
    block = _Block(start, [], [], [], [], [])
    for position, line in enumerate(lines, start):
        try:
            labels, indices, values = _parse_line(line, shape)
        except (ValueError, OverflowError) as error:
            block.bad.append(BadRow(position + FIRST_LINE, "malformed", str(error)[:200]))
            continue
        block.positions.append(position)
        block.labels.append(labels)
        block.indices.append(indices)
        block.values.append(values)
    return block


def _parse_line(line: bytes, shape: _Shape) -> tuple[IntArray, IntArray, FloatArray]:
    """An empty line is a document without labels and features."""
    tokens = line.split()
    names = tokens.pop(0).split(b",") if tokens and b":" not in tokens[0] else []
    labels = np.array([int(name) for name in names], np.int64)
    pairs = np.array([token.split(b":") for token in tokens], np.float64)
    if tokens and pairs.shape != (len(tokens), 2):
        raise ValueError("a feature is not of the form index:value")
    indices, values = pairs.reshape(-1, 2).T
    if not np.isfinite(pairs).all() or (indices != np.floor(indices)).any():
        raise ValueError("a feature's index is not an integer, or its value is not finite")
    for found, bound, what in ((labels, shape.labels, "label"), (indices, shape.features, "feature")):
        if len(found) and not (found.min() >= 0 and found.max() < bound):
            raise ValueError(f"a {what} is outside 0 … {bound - 1}")
    return labels.astype(np.int32), indices.astype(np.int32), values.astype(np.float32)


def _name_rows(positions: list[int], request: Request) -> list[str]:
    prefix = split_of(request.name) or request.name.split(".", 1)[0]
    return [f"{prefix}-{position}" for position in positions]


def _offsets(parts: list[IntArray]) -> IntArray:
    return np.cumsum([0, *map(len, parts)], dtype=np.int32)


def _to_csr(indices: list[IntArray], values: list[Any], width: int) -> sparse.csr_array:
    joined = np.concatenate(indices) if indices else np.empty(0, np.int32)
    data = np.concatenate(values) if values else np.empty(0, np.float32)
    return sparse.csr_array((data, joined, _offsets(indices)), shape=(len(indices), width))


def _to_structs(block: _Block) -> pa.Array:
    if not block.indices:
        return pa.array([], FEATURES)
    fields = [pa.array(np.concatenate(block.indices)), pa.array(np.concatenate(block.values))]
    pairs = pa.StructArray.from_arrays(fields, fields=list(FEATURES.value_type))
    return pa.ListArray.from_arrays(pa.array(_offsets(block.indices)), pairs)
