"""Annif's corpora and vocabularies (github.com/NatLibFi/Annif/wiki), whose files have no header and no ids.

A document's id is the file's name, and with it the row where a file holds many. Subjects are URIs in angle
brackets; where only their titles are given, these are the labels, which `corpus convert --labels` can resolve.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from raytagger.corpus.cells import LIST_BEGINS, label_cell
from raytagger.corpus.compression import BUFFER_BYTES, strip_compression
from raytagger.corpus.delimited import FIELD_CHARACTERS
from raytagger.corpus.jsonl import iterate_lines
from raytagger.corpus.rows import (
    BYTE_ORDER_MARK,
    BadRow,
    RawChunk,
    Request,
    Rows,
    choose_columns,
    chunked,
    tabulate,
)
from raytagger.errors import CorpusError
from raytagger.store import join, parent

DOCUMENT = ("doc_id", "text", "labels")
LABEL = ("label_id", "title", "status")
SUBJECT_ENDINGS = (".tsv", ".key")


def read_annif_tsv(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """`text<TAB><uri> <uri>` a line; a line without a tab, or not in UTF-8, is a bad row."""
    check_asked(False, request)
    columns = choose_columns(request.kinds, [dict.fromkeys(DOCUMENT)])
    for start, lines in chunked(iterate_lines(file, request.uri), request.rows):
        rows = Rows(start, [], [], [])
        for position, fields in _split_lines(start + 1, lines, rows):
            if len(fields) == 1:
                rows.bad.append(BadRow(position, "wrong_width", "no tab stands between text and subjects"))
                continue
            # Subjects may be separated by tabs too.
            labels = cell_subjects(" ".join(fields[1:]))
            if isinstance(labels, str):
                rows.bad.append(BadRow(position, "wrong_type", f"labels: {labels!r:.100} is not a list of strings"))
                continue
            known = {"doc_id": f"{name_stem(request)}-{position}", "text": fields[0], "labels": labels}
            rows.values.append(known)
            rows.positions.append(position)
        yield tabulate(rows, columns, DOCUMENT)


def read_annif_fulltext(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """A `.txt` of a folder with the subjects in the `.tsv` or `.key` beside it, or a `.json`: one document a file.

    A file of subjects without its text is a bad row.

    Raises:
        CorpusError: a file of another kind lies in the folder.
    """
    check_asked(False, request)
    stem, ending = _cut_ending(strip_compression(request.name))
    rows, text = Rows(0, [], [], []), f"{stem}.txt"
    if ending in SUBJECT_ENDINGS:
        if _has_text(text, request):
            return
        rows.bad.append(BadRow(1, "empty_text", f"there is no {text} beside it"))
    elif ending in (".txt", ".json"):
        try:
            read = _read_json if ending == ".json" else _read_text
            rows.values.append(read(file.read().removeprefix(BYTE_ORDER_MARK), stem, request))
            rows.positions.append(1)
        except UnicodeDecodeError as error:
            rows.bad.append(BadRow(1, "not_utf8", str(error)))
        except (ValueError, RecursionError) as error:
            rows.bad.append(BadRow(1, "not_json", str(error)))
    else:
        expected = ".txt with .tsv or .key, or .json"
        raise CorpusError(f"{request.uri} is no part of a full-text corpus", got=ending or None, expected=expected)
    columns = choose_columns(request.kinds, [dict.fromkeys(DOCUMENT), *rows.values])
    yield tabulate(rows, columns, tuple(dict.fromkeys([*DOCUMENT, *(name for row in rows.values for name in row)])))


def read_annif_vocabulary(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Labels: `<uri><TAB>label` a line, or CSV with the header `uri,label_en,label_fi,notation`.

    Of a CSV the label in `request.language`, else the first that is given. A subject without a label is retired, as
    Annif has it.

    Raises:
        CorpusError: documents are asked for, or a CSV has no `uri` or no `label_…`.
    """
    check_asked(True, request)
    is_csv = strip_compression(request.name).lower().endswith(".csv")
    records = _csv_labels(file, request) if is_csv else _tsv_labels(file, request)
    columns = choose_columns(request.kinds, [dict.fromkeys(LABEL)])
    for rows in records:
        yield tabulate(rows, columns, LABEL)


def check_asked(has_labels: bool, request: Request) -> None:
    """Whether labels are asked of a vocabulary, and documents of a corpus."""
    labels = "label_id" in request.kinds
    if labels and not has_labels:
        remedy = "Set source.label_format to the format of the label file."
        raise CorpusError(f"{request.uri} is asked for labels, and its format holds documents", remedy=remedy)
    if has_labels and not labels:
        raise CorpusError(
            f"{request.uri} is a vocabulary and holds no documents", remedy="Name it as source.labels."
        )


def _tsv_labels(file: BinaryIO, request: Request) -> Iterator[Rows]:
    for start, lines in chunked(iterate_lines(file, request.uri), request.rows):
        rows = Rows(start, [], [], [])
        for position, fields in _split_lines(start + 1, lines, rows):
            rows.values.append(_to_label(bare(fields[0]), fields[1] if len(fields) > 1 else ""))
            rows.positions.append(position)
        yield rows


def _csv_labels(file: BinaryIO, request: Request) -> Iterator[Rows]:
    """All of them at once: a vocabulary fits into memory."""
    csv.field_size_limit(max(csv.field_size_limit(), FIELD_CHARACTERS))
    buffered = io.BufferedReader(cast(Any, file), BUFFER_BYTES)
    reader = csv.DictReader(io.TextIOWrapper(buffered, "utf-8-sig", errors="surrogateescape", newline=""))
    names = list(reader.fieldnames or ())
    labels = [name for name in names if name.startswith("label_")]
    labels.sort(key=lambda name: name.lower() != f"label_{request.language.lower()}")
    if "uri" not in names or not labels:
        raise CorpusError(f"{request.uri} is no vocabulary of Annif", got=names, expected="uri,label_en,…")
    rows = Rows(0, [], [], [])
    for record in reader:
        if None in record or None in record.values():
            rows.bad.append(BadRow(reader.line_num, "wrong_width", f"the header has {len(names)} fields"))
            continue
        rows.values.append(
            _to_label(bare(record["uri"]), next((record[name] for name in labels if record[name]), ""))
        )
        rows.positions.append(reader.line_num)
    yield rows


def _to_label(uri: str, title: str) -> dict[str, Any]:
    return {"label_id": uri, "title": title.strip(), "status": "active" if title.strip() else "retired"}


def _split_lines(first: int, lines: list[bytes], rows: Rows) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line; blank lines are passed over, those not in UTF-8 become bad rows."""
    for position, line in enumerate(lines, first):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            rows.bad.append(BadRow(position, "not_utf8", str(error)))
            continue
        if text.strip():
            yield position, text.split("\t")


def _read_text(data: bytes, stem: str, request: Request) -> dict[str, Any]:
    for ending in SUBJECT_ENDINGS:
        uri = join(parent(request.uri), stem + ending)
        if request.store.exists(uri):
            lines = request.store.read_bytes(uri).removeprefix(BYTE_ORDER_MARK).decode("utf-8").split("\n")
            return {"doc_id": stem, "text": data.decode("utf-8"), "labels": _subjects(lines)}
    return {"doc_id": stem, "text": data.decode("utf-8"), "labels": None}


def _subjects(lines: list[str]) -> list[str]:
    """The URI in angle brackets, or the title where there is none."""
    found = []
    for line in lines:
        fields = [part.strip() for part in line.split("\t")]
        uris = [part[1:-1] for part in fields if part.startswith("<") and part.endswith(">")]
        found += uris[:1] or [part for part in fields if part][:1]
    return found


def _read_json(data: bytes, stem: str, request: Request) -> dict[str, Any]:
    value = json.loads(data.decode("utf-8"))
    if not isinstance(value, dict):
        raise ValueError("the file is not one JSON object")
    return to_document(value, stem)


def to_document(value: dict[str, Any], doc_id: str) -> dict[str, Any]:
    """A document that Annif has written as JSON, with its metadata as columns; `doc_id` where it has none."""
    metadata, subjects = value.get("metadata") or {}, value.get("subjects")
    known = {"doc_id": value.get("document_id", doc_id), "text": value.get("text"), "labels": subjects}
    if isinstance(subjects, list) and all(isinstance(subject, dict) for subject in subjects):
        known["labels"] = [subject.get("uri") or subject.get("label") for subject in subjects]
    return {**(metadata if isinstance(metadata, dict) else {}), **known}


def _has_text(name: str, request: Request) -> bool:
    return any(request.store.exists(join(parent(request.uri), name + ending)) for ending in ("", ".gz", ".zst"))


def bare(uri: str) -> str:
    """A URI without its angle brackets."""
    uri = uri.strip()
    return uri[1:-1] if uri.startswith("<") and uri.endswith(">") else uri


def cell_subjects(cell: str) -> list[str] | str:
    """The URIs of a cell, without angle brackets; one that begins as a list and is none comes back as it is."""
    found = label_cell(cell)
    if isinstance(found, str) or cell.lstrip().startswith(LIST_BEGINS):
        return found if isinstance(found, str) else [bare(str(uri)) for uri in found]
    return [bare(uri) for part in found for uri in part.split()]


def name_stem(request: Request) -> str:
    """The file's name without its endings."""
    return _cut_ending(strip_compression(request.name))[0]


def _cut_ending(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    return (stem, dot + ending.lower()) if stem else (name, "")
