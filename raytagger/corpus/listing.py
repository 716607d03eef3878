"""Which files of a folder are documents: its label file and files about the corpus are not."""

from __future__ import annotations

import re
from pathlib import Path

from raytagger.corpus.compression import strip_compression
from raytagger.corpus.formats import read_raw
from raytagger.corpus.rows import Request
from raytagger.corpus.xmc_filter import is_filter
from raytagger.corpus.xmc_json import LABEL_FILE
from raytagger.errors import CorpusError
from raytagger.settings import SourceSettings
from raytagger.store import FileEntry, Store, absolute, is_s3

SOURCE_FILE = "SOURCE.json"  # what `raytagger corpus` writes beside a corpus
LABEL_NAME = re.compile(r"labels?([-_.].*)?\.\w+", re.IGNORECASE)
DOCUMENT_COLUMNS = {"doc_id", "labels", "split"}


def list_documents(store: Store, source: SourceSettings) -> list[FileEntry]:
    """The files that `source.documents` names.

    Left out of a folder are `source.labels`, files named `labels…` without a document's columns, `SOURCE.json`,
    and beside an `lbl.json` of the extreme-classification repository it and `.txt` files.

    Raises:
        CorpusError: there is none.
    """
    if not source.documents:
        raise CorpusError("source.documents is empty", expected="a file, a folder or an s3:// prefix")
    entries = store.list(source.documents)
    if not entries:
        raise CorpusError("the corpus has no files", got=source.documents)
    if len(entries) == 1:
        return entries
    names = [_bare_name(entry) for entry in entries]
    is_xmc, labels = LABEL_FILE in names, _same_place(source.labels) if source.labels else ""
    found = [
        entry
        for entry, name in zip(entries, names, strict=True)
        if not (
            name == SOURCE_FILE or is_filter(name) or (is_xmc and (name == LABEL_FILE or name.endswith(".txt")))
        )
        and not _lies_at(entry.uri, labels)
        and not (LABEL_NAME.fullmatch(name) and _holds_labels(store, entry, source))
    ]
    if not found:
        remedy = "Documents and labels are two files; only a single file is taken whatever its name."
        raise CorpusError("the corpus has no files but label files", got=source.documents, remedy=remedy)
    return found


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
    try:
        chunk = next(read_raw(store, entry, source.format, Request(entry.uri, 1, {})), None)
    except CorpusError:
        return False  # whoever reads it will say what is wrong with it
    names = set(chunk.names) if chunk else set()
    return "label_id" in names or bool(names and not names & {*DOCUMENT_COLUMNS, *source.map.values()})
