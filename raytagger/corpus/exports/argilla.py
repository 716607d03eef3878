"""Exports of Argilla as JSON lines or one JSON array: records of versions 1 and 2; as CSV those of version 1.

Version 2 and version 1's feedback datasets have `fields` and `responses`; version 1's older datasets `inputs`,
`annotation` and `status`, which `to_pandas().to_csv()` writes as Python prints them.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow as pa

from raytagger.corpus.cells import label_cell
from raytagger.corpus.compression import strip_compression
from raytagger.corpus.delimited import read_csv
from raytagger.corpus.exports.items import iterate_items, label_names, name_lists, with_labels
from raytagger.corpus.jsonl import read_objects
from raytagger.corpus.rows import Kind, RawChunk, Request
from raytagger.errors import CorpusError

TABLE = ("id", "text", "inputs", "annotation", "status")  # what is read of a CSV


def read_argilla(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Documents: a record's fields and questions as columns, `doc_id`, `text` and `labels`.

    The text is the field of that name, or the only field. Labels are what annotators answered, all of them
    together; drafts, discarded answers and suggestions do not count. A record that nobody answered has no labels.

    Raises:
        CorpusError: several questions were answered and `source.map` does not name the one that asks for labels; a
            CSV has no column `annotation`.
    """
    if strip_compression(request.uri).lower().endswith(".csv"):
        yield from _read_table(file, request)
        return
    questions: set[str] = set()

    def convert(position: int, record: dict[str, Any]) -> dict[str, Any]:
        fields = record.get("fields") or record.get("inputs") or {}
        fields = fields if isinstance(fields, dict) else {"text": fields}
        ids = (record.get(name) for name in ("external_id", "id", "_server_id"))
        doc_id = next((found for found in ids if found is not None), f"{request.name}-{position + 1}")
        answers = _answers(record)
        questions.update(answers)
        columns = {**answers, **_metadata(record), **fields, "text": _text(fields, record.get("text"))}
        row = {**columns, "doc_id": doc_id, "labels": _labels(record, answers, questions, request)}
        return name_lists(row, request)

    yield from read_objects(iterate_items(file, request), request, convert)


def _read_table(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """CSV of version 1's older datasets: a single label is written as it is, several as a list."""
    more = {name: Kind.TEXT for name in TABLE if name not in request.kinds}
    for chunk in read_csv(file, replace(request, kinds={**request.kinds, **more})):
        if "annotation" not in chunk.names:
            remedy = "Export the records as JSON, or set source.format = csv and name the columns by source.map."
            raise CorpusError(f"{request.uri} has no column annotation", got=list(chunk.names), remedy=remedy)
        rows = [dict.fromkeys(TABLE) | row for row in chunk.table.to_pylist()]
        ids = [row["id"] or f"{request.name}-{line}" for row, line in zip(rows, chunk.positions, strict=True)]
        made = {
            "doc_id": pa.array(ids, pa.string()),
            "text": pa.array([row["text"] or _text(_printed_fields(row["inputs"])) for row in rows], pa.string()),
        }
        table = chunk.table.drop_columns([name for name in (*made, "labels") if name in chunk.table.column_names])
        for name in filter(request.kinds.__contains__, made):
            table = table.append_column(name, made[name])
        chunk = replace(chunk, table=table, names=tuple(dict.fromkeys((*chunk.names, *made, "labels"))))
        yield with_labels(chunk, list(map(_printed_labels, rows)), ids) if "labels" in request.kinds else chunk


def _text(fields: dict[str, Any], own: Any = None) -> Any:
    """The field of that name, else the record's own text, else the only field."""
    text = fields.get("text", own)
    return next(iter(fields.values())) if text is None and len(fields) == 1 else text


def _printed_fields(cell: str | None) -> dict[str, str]:
    """A dictionary as Python prints it; none where the cell is no such."""
    try:
        found = ast.literal_eval(cell or "{}")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return {}
    return {name: text for name, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}


def _printed_labels(row: dict[str, Any]) -> list[str] | str | None:
    """Of a name, or of a list as Python prints it; an empty cell is nobody's answer, text a broken list."""
    cell = row["annotation"]
    if row["status"] == "Discarded" or not isinstance(cell, str) or not cell.strip():
        return None
    found = label_cell(cell)
    return found if isinstance(found, str) else [str(name) for name in found] or None


def _answers(record: dict[str, Any]) -> dict[str, list[Any]]:
    """Answers by question; those of several annotators one after the other."""
    answers: dict[str, list[Any]] = defaultdict(list)
    responses = record.get("responses") or ()
    if isinstance(responses, dict):  # version 2: by question
        found = [(question, answer) for question, given in responses.items() for answer in given or ()]
    else:  # version 1: by annotator
        given = [response for response in responses if _counts(response)]
        found = [(question, answer) for one in given for question, answer in (one.get("values") or {}).items()]
    for question, answer in found:
        if isinstance(answer, dict) and _counts(answer):
            value = answer.get("value")
            answers[question] += value if isinstance(value, list) else [] if value is None else [value]
    return dict(answers)


def _counts(response: Any) -> bool:
    return isinstance(response, dict) and str(response.get("status") or "submitted").lower() == "submitted"


def _labels(record: dict[str, Any], answers: dict[str, list[Any]], questions: set[str], request: Request) -> Any:
    if "annotation" in record:
        return label_names(record["annotation"]) if record.get("status") != "Discarded" else None
    if "labels" in questions or "labels" not in request.kinds:
        return label_names(answers.get("labels"))
    if len(questions) > 1:
        raise CorpusError(
            f"{request.uri} has answers to several questions",
            got=sorted(questions),
            remedy=f'Name the one that asks for labels, such as source.map={{labels="{sorted(questions)[0]}"}}.',
        )
    return label_names(next(iter(answers.values()), None))


def _metadata(record: dict[str, Any]) -> dict[str, Any]:
    metadata = record.get("metadata")
    return metadata if isinstance(metadata, dict) else {}
