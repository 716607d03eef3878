"""Annif's short texts as CSV and JSON lines (since its version 1.4), which have names for their columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow as pa

from raytagger.corpus.delimited import read_csv
from raytagger.corpus.exports.annif import cell_subjects, check_asked, name_stem, to_document
from raytagger.corpus.exports.items import with_labels
from raytagger.corpus.jsonl import iterate_lines, read_objects
from raytagger.corpus.rows import Kind, RawChunk, Request

ID, SUBJECTS = "document_id", "subject_uris"


def read_annif_csv(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """CSV with `text`, `subject_uris` (`<uri> <uri>`) and perhaps `document_id`; else the id is file and line."""
    check_asked(False, request)
    own = replace(request, kinds={**request.kinds, ID: Kind.ID, SUBJECTS: Kind.TEXT})
    for chunk in read_csv(file, own):
        table = chunk.table
        if "doc_id" in request.kinds and "doc_id" not in table.column_names:
            ids = [f"{name_stem(request)}-{line}" for line in chunk.positions]
            given = table[ID] if ID in table.column_names else pa.array(ids, pa.string())
            table = table.append_column("doc_id", given)
        if "labels" in request.kinds and SUBJECTS in table.column_names and "labels" not in table.column_names:
            ids = table["doc_id"].to_pylist() if "doc_id" in table.column_names else [""] * len(table)
            cells = [cell_subjects(cell or "") for cell in table[SUBJECTS].to_pylist()]
            chunk = with_labels(replace(chunk, table=table), cells, ids)
            table = chunk.table
        yield replace(chunk, table=table, names=(*chunk.names, "doc_id", "labels"))


def read_annif_jsonl(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """JSON lines with `text`, `subjects`, and perhaps `document_id` and `metadata`, which become columns."""
    check_asked(False, request)
    stem = name_stem(request)

    def convert(position: int, value: dict[str, Any]) -> dict[str, Any]:
        return to_document(value, f"{stem}-{position + 1}")

    return read_objects(iterate_lines(file, request.uri), request, convert)
