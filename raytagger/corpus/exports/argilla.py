"""Exports of Argilla as JSON lines or one JSON array: records of versions 1 and 2.

Version 2 and version 1's feedback datasets have `fields` and `responses`; version 1's older datasets `inputs`,
`annotation` and `status`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, BinaryIO

from raytagger.corpus.exports.items import iterate_items, label_names, name_lists
from raytagger.corpus.jsonl import read_objects
from raytagger.corpus.rows import RawChunk, Request
from raytagger.errors import CorpusError


def read_argilla(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Documents: a record's fields and questions as columns, `doc_id`, `text` and `labels`.

    The text is the field of that name, or the only field. Labels are what annotators answered, all of them
    together; drafts, discarded answers and suggestions do not count. A record that nobody answered has no labels.

    Raises:
        CorpusError: several questions were answered and `source.map` does not name the one that asks for labels.
    """
    questions: set[str] = set()

    def convert(position: int, record: dict[str, Any]) -> dict[str, Any]:
        fields = record.get("fields") or record.get("inputs") or {}
        fields = fields if isinstance(fields, dict) else {"text": fields}
        ids = (record.get(name) for name in ("external_id", "id", "_server_id"))
        doc_id = next((found for found in ids if found is not None), f"{request.name}-{position + 1}")
        answers = _answers(record)
        questions.update(answers)
        columns = {**answers, **_metadata(record), **fields}
        text = fields.get("text", record.get("text"))
        if text is None and len(fields) == 1:
            text = next(iter(fields.values()))
        row = {**columns, "doc_id": doc_id, "text": text, "labels": _labels(record, answers, questions, request)}
        return name_lists(row, request)

    return read_objects(iterate_items(file, request), request, convert)


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
