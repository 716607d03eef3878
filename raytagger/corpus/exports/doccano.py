"""Exports of doccano: `id`, `text` (or `data`) and `label`, as JSON lines or one JSON array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from raytagger.corpus.exports.items import iterate_items, label_names, name_lists
from raytagger.corpus.jsonl import read_objects
from raytagger.corpus.rows import RawChunk, Request

LABELS = ("label", "labels", "cats", "entities", "annotations")  # by project and version, one or two of them


def read_doccano(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Documents `doc_id, text, labels` beside the export's own columns; a span counts as its label.

    A document without an id has the file's name and its place. Labels that are no names and no spans: a bad row.
    """

    def convert(position: int, value: dict[str, Any]) -> dict[str, Any]:
        doc_id = value.get("id", f"{request.name}-{position + 1}")
        known = {"doc_id": doc_id, "text": value.get("text", value.get("data")), "labels": _labels(value)}
        return name_lists({**value, **known}, request)

    return read_objects(iterate_items(file, request), request, convert)


def _labels(value: dict[str, Any]) -> Any:
    found = [label_names(value[name]) for name in LABELS if value.get(name) is not None]
    wrong = [names for names in found if not isinstance(names, list)]
    if wrong or not found:
        return wrong[0] if wrong else None
    return list({repr(name): name for names in found for name in names}.values())
