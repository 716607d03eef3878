"""The extreme-classification repository's raw texts: `trn.json`, `tst.json`, `lbl.json`, one object a line.

A document has `uid`, `title`, `content` and `target_ind`, the positions of its labels in `lbl.json`; a label
has `uid`, `title` and perhaps `content`, and goes by its position. Relevances in `target_rel` are ignored.

Source: the Extreme Classification Repository, manikvarma.org/downloads/XC/XMLRepository.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO

from raytagger.corpus.jsonl import iterate_lines, keep, read_objects
from raytagger.corpus.rows import RawChunk, Request
from raytagger.corpus.xmc_filter import leave_out
from raytagger.errors import CorpusError

SPLITS = {"trn": "train", "train": "train", "tst": "test", "test": "test"}
LABEL_FILE = "lbl.json"
NAMES = ("trn.json", "tst.json", LABEL_FILE)
OWN = ("labels", "split", "text")  # columns that the repository's files do not have


def read_json(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """A `.json` file: the repository's if it looks like that, else JSON lines.

    Raises:
        CorpusError: it is one JSON array, or may be both and would lose a column as the repository's.
    """
    lines = iterate_lines(file, request.uri)
    first = next(lines, b"")
    if first.lstrip().startswith(b"["):
        raise CorpusError(
            f"{request.uri} is a JSON array",
            expected="one object a line",
            remedy="Convert it: jq -c '.[]' in.json > out.jsonl",
        )
    lines = chain([first], lines) if first else lines
    if _is_xmc(first, request):
        return _read(lines, request)
    return read_objects(lines, request, keep)


def read_xmc_json(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """The repository's documents, or its labels where those are asked for."""
    return _read(iterate_lines(file, request.uri), request)


def split_of(name: str) -> str | None:
    """The split that a file's name tells: `trn…` and `train…`, `tst…` and `test…`."""
    return next((split for start, split in SPLITS.items() if name.lower().startswith(start)), None)


def _read(lines: Iterator[bytes], request: Request) -> Iterator[RawChunk]:
    split = split_of(request.name)

    def to_document(row: int, value: dict[str, Any]) -> dict[str, Any]:
        known = {"doc_id": value.get("uid"), "text": _join(value), "labels": value.get("target_ind")}
        return {"split": split, **value, **known}

    if "label_id" in request.kinds:
        return read_objects(lines, request, _to_label)
    return (leave_out(chunk, request.pairs, 1) for chunk in read_objects(lines, request, to_document))


def _to_label(row: int, value: dict[str, Any]) -> dict[str, Any]:
    return {"label_id": row, "title": value.get("title"), "text": value.get("content")}


def _join(value: dict[str, Any]) -> Any:
    parts = [value.get(name) for name in ("title", "content")]
    wrong = [part for part in parts if not isinstance(part, str | None)]
    return wrong[0] if wrong else ". ".join(part for part in parts if part)


def _is_xmc(line: bytes, request: Request) -> bool:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict):
        return False
    if "target_ind" in value:
        if "labels" in value or "text" in value:
            raise _ambiguous(request, value)
        return True
    if "uid" not in value or any(name in value for name in OWN):
        return False
    if request.name.lower().startswith(NAMES):
        return "content" in value or request.name.lower().startswith(LABEL_FILE)
    if "content" in value and "content" not in request.kinds:
        raise _ambiguous(request, value)
    return False


def _ambiguous(request: Request, value: dict[str, Any]) -> CorpusError:
    setting = "source.label_format" if "label_id" in request.kinds else "source.format"
    return CorpusError(
        f"{request.uri} may be the XMC repository's or plain JSON lines",
        got=sorted(value),
        remedy=f"Set {setting} = xmc-json; or {setting} = jsonl, and name the columns by source.map.",
    )
