"""Which files of a folder are documents: its label file and files about the corpus are not."""

from __future__ import annotations

import re
from pathlib import Path

from raytagger.corpus.compression import strip_compression
from raytagger.corpus.exports.folders import find_companions
from raytagger.corpus.formats import find_format_name, read_raw
from raytagger.corpus.labels import KINDS
from raytagger.corpus.places import told_columns
from raytagger.corpus.roles import Roles
from raytagger.corpus.rows import Request
from raytagger.corpus.xmc_filter import is_filter
from raytagger.corpus.xmc_json import LABEL_FILE
from raytagger.errors import CorpusError
from raytagger.settings import SourceSettings
from raytagger.store import FileEntry, Store, absolute, is_s3

SOURCE_FILE = "SOURCE.json"  # what `raytagger corpus` writes beside a corpus
LABEL_NAME = re.compile(r"labels?([-_.].*)?\.\w+", re.IGNORECASE)
DOCUMENT_COLUMNS = {"doc_id", "labels", "split"}
LABEL_IDS = {"label_id", "id", "uid"}
TABLES = ("parquet", "jsonl", "json", "csv", "tsv")  # formats whose columns are the file's own
LOOKED_AT = 64  # kinds of files' names of which one is opened


def list_documents(store: Store, source: SourceSettings) -> list[FileEntry]:
    """The files that `source.documents` names.

    Left out of a folder are `source.labels`, files named `labels…` without a document's columns, `SOURCE.json`,
    beside an `lbl.json` of the extreme-classification repository it and `.txt` files, and what other tools export
    beside documents (`find_companions`).

    Raises:
        CorpusError: there is none, or one has the columns of a label file and lacks those of the others.
    """
    if not source.documents:
        raise CorpusError("source.documents is empty", expected="a file, a folder or an s3:// prefix")
    entries = store.list(source.documents)
    if not entries:
        raise CorpusError("the corpus has no files", got=source.documents)
    if len(entries) == 1:
        return entries
    names, companions = [_bare_name(entry) for entry in entries], find_companions(entry.uri for entry in entries)
    is_xmc, labels = LABEL_FILE in names, _same_place(source.labels) if source.labels else ""
    found = [
        entry
        for entry, name in zip(entries, names, strict=True)
        if not _is_about_documents(name, is_xmc)
        and entry.uri not in companions
        and not _lies_at(entry.uri, labels)
        and not (LABEL_NAME.fullmatch(name) and _holds_labels(store, entry, source))
    ]
    if not found:
        remedy = "Documents and labels are two files; only a single file is taken whatever its name."
        raise CorpusError("the corpus has no files but label files", got=source.documents, remedy=remedy)
    _refuse_labels(_read_columns(store, found, source), Roles(source))
    return found


def _is_about_documents(name: str, is_xmc: bool) -> bool:
    """Whether a file of this name only tells of the documents beside it."""
    return name == SOURCE_FILE or is_filter(name) or (is_xmc and (name == LABEL_FILE or name.endswith(".txt")))


def _bare_name(entry: FileEntry) -> str:
    return strip_compression(entry.uri.rsplit("/", 1)[-1])


def _same_place(uri: str) -> str:
    """One spelling for a place: local paths are absolute and without links."""
    uri = uri.rstrip("/")
    return uri if is_s3(uri) else str(Path(absolute(uri)).resolve())


def _lies_at(uri: str, labels: str) -> bool:
    place = _same_place(uri) if labels else ""
    return bool(labels) and (place == labels or place.startswith(f"{labels}/"))


def _holds_labels(store: Store, entry: FileEntry, source: SourceSettings) -> bool:
    """Whether a file whose name says so has none of the columns by which documents differ from labels."""
    names = _columns(store, entry, source)
    return "label_id" in names or bool(names and not names & {*DOCUMENT_COLUMNS, *source.map.values()})


def _columns(store: Store, entry: FileEntry, source: SourceSettings) -> set[str]:
    """The names of a file's columns; none where it cannot be read: whoever reads it will say what is wrong."""
    try:
        chunk = next(read_raw(store, entry, source.format, Request(entry.uri, 1, {})), None)
    except CorpusError:
        return set()
    return set(chunk.names) if chunk else set()


def _read_columns(store: Store, entries: list[FileEntry], source: SourceSettings) -> dict[str, set[str]]:
    """Columns by file: of files whose names differ in their numbers alone, of one."""
    kinds: dict[str, FileEntry] = {}
    for entry in entries:
        if find_format_name(entry.uri, source.format) in TABLES:
            kinds.setdefault(re.sub(r"=[^/]*|\d+", "0", entry.uri), entry)
    if len(kinds) < 2:
        return {}
    return {entry.uri: _columns(store, entry, source) for entry in list(kinds.values())[:LOOKED_AT]}


def _refuse_labels(columns: dict[str, set[str]], roles: Roles) -> None:
    """No file may look like labels among documents of another kind: labels would be tagged.

    Raises:
        CorpusError: a file has an id, a title or text and nothing else that is a document's, they have columns that
            it lacks, and by a column that only labels have or another name of the id it differs from them; or they
            have labels, and it has no column that labels cannot have.
    """
    named = set(roles.source.map.values())
    of_documents = {*DOCUMENT_COLUMNS, *named} - LABEL_IDS - {"title", "text"}
    of_labels = KINDS.keys() - {"text"} - named
    for uri, names in columns.items():
        others = set().union(*(other for place, other in columns.items() if place != uri))
        lacking = others - KINDS.keys() - names - {"doc_id"}
        may_be = names <= KINDS.keys() and roles.has("labels", others)
        looks_so = names & LABEL_IDS and names & {"title", "text"} and (may_be or names & of_labels - others)
        is_document = names & of_documents or (names & others) - KINDS.keys() or told_columns(uri, roles)
        if looks_so and lacking and not is_document:
            raise CorpusError(
                f"{uri} looks like a label file among the documents",
                got=sorted(names),
                expected=f"{', '.join(sorted(lacking))}, as other files of the folder have",
                remedy="Name it by source.labels, or move it out of the folder; if it holds documents, call its "
                "ids doc_id or give it the missing columns.",
            )
