"""Exports of Label Studio, JSON and JSON-MIN: a task's data and what annotators chose.

Choices, span labels and taxonomies (`a/b` for a path) are labels. Each control of the labelling interface is a
column too, so that `source.map` can name one of them where they mean different things.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from raytagger.corpus.exports.items import iterate_items, name_lists
from raytagger.corpus.jsonl import read_objects
from raytagger.corpus.rows import Kind, RawChunk, Request
from raytagger.errors import CorpusError

ANNOTATIONS = ("annotations", "completions")  # the latter before version 1.0
ADDED = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time")  # what JSON-MIN adds
RESULTS = ("choices", "labels", "taxonomy")


def read_label_studio(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Documents: the task's data as columns, `doc_id` (of the data, else the task's id) and `labels`.

    The annotations of a task count together, or only its ground truth where one is marked; cancelled ones do not
    count, nor do predictions. A task that nobody annotated has no labels.

    Raises:
        CorpusError: JSON-MIN with single choices whose column `source.map` does not name and which could be data.
    """
    singles: dict[str, None] = {}

    def convert(position: int, value: dict[str, Any]) -> dict[str, Any]:
        is_task = isinstance(value.get("data"), dict)
        row = _from_task(value) if is_task else _from_minimal(value, singles, request)
        return name_lists(row, request)

    return read_objects(iterate_items(file, request), request, convert)


def _from_task(task: dict[str, Any]) -> dict[str, Any]:
    name = next((name for name in ANNOTATIONS if name in task), "")
    made = [part for part in task.get(name) or () if isinstance(part, dict) and not part.get("was_cancelled")]
    made = [part for part in made if part.get("ground_truth")] or made
    controls: dict[str, list[str]] = {}
    for result in (result for part in made for result in part.get("result") or ()):
        if isinstance(result, dict) and (names := _names(result.get("value"))):
            controls.setdefault(str(result.get("from_name")), []).extend(names)
    labels = _union(controls) if made else None
    return {"doc_id": task.get("id"), **controls, **task["data"], "labels": labels}


def _from_minimal(row: dict[str, Any], singles: dict[str, None], request: Request) -> dict[str, Any]:
    """`singles` are the columns that held one choice in any row so far."""
    own = _single_choices(row, request)
    singles.update(dict.fromkeys(own))
    controls = {name: names for name, value in row.items() if (names := _names(value))}
    controls |= {name: [row[name]] for name in own}
    row = {"doc_id": row.get("id"), **row, **controls}
    if "labels" in controls or "labels" not in request.kinds:
        return row
    if len(singles) > 1:
        raise CorpusError(
            f"{request.uri}: several columns may be labels",
            got=list(singles),
            remedy=f'Name the one by source.map, such as source.map={{labels="{next(reversed(singles))}"}}.',
        )
    return {**row, "labels": _union(controls) if controls else None}


def _single_choices(row: dict[str, Any], request: Request) -> list[str]:
    """Columns with the name of one choice alone. The exporter writes controls between `id` and what it adds."""
    names = list(row)
    begin = names.index("id") + 1 if "id" in names else len(names)
    end = min((names.index(name) for name in ADDED if name in names), default=len(names))
    found = [name for name in names[begin:end] if isinstance(row[name], str)]
    return [name for name in found if request.kinds.get(name) is not Kind.TEXT]


def _names(value: Any) -> list[str]:
    """The labels within a control's value: of one result, or a list of them."""
    if isinstance(value, list):
        return [name for part in value if isinstance(part, dict) for name in _names(part)]
    if not isinstance(value, dict):
        return []
    found = [part for kind in RESULTS for part in _listed(value.get(kind))]
    return ["/".join(map(str, part)) if isinstance(part, list) else str(part) for part in found]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _union(controls: dict[str, list[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in controls.values() for name in names))
