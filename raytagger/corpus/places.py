"""What a file's place tells of its documents: folders `key=value`, names such as `train-00000-of-00002`."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote

import pyarrow as pa

from raytagger.corpus.roles import Roles
from raytagger.corpus.rows import RawChunk
from raytagger.store import parent
from raytagger.store.listing import is_pattern, split_pattern

HIVE = re.compile(r"([^=/]+)=([^/]*)")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
SPLIT_NAME = re.compile(r"(train|validation|valid|val|dev|test)(-\d{5}-of-\d{5})?(\.[a-z0-9]+)+", re.IGNORECASE)


def told_columns(uri: str, roles: Roles) -> dict[str, str | None]:
    """The columns asked for that folders below `source.documents` name; the split that the file's name tells."""
    *folders, name = _below(uri, roles.source.documents).split("/")
    told = {
        unquote(found[1]): None if found[2] in ("", HIVE_NULL) else unquote(found[2])
        for folder in folders
        if (found := HIVE.fullmatch(folder))
    }
    if roles.split and (found := SPLIT_NAME.fullmatch(name)):
        told.setdefault(roles.split, found[1])
    asked = {roles.split, *map(roles.column, roles.source.columns)}
    return {column: value for column, value in told.items() if column in asked}


def add_told(chunk: RawChunk, told: dict[str, str | None]) -> RawChunk:
    """A chunk with these columns where its file has none of their names."""
    table, names = chunk.table, set(chunk.names) | set(chunk.table.column_names)
    missing = [column for column in told if column not in names]
    for column in missing if chunk.positions else ():
        table = table.append_column(column, pa.array([told[column]] * len(chunk.positions), pa.string()))
    return replace(chunk, table=table, names=(*chunk.names, *missing))


def _below(uri: str, documents: str) -> str:
    """A file's path below the folder, or the fixed part of the pattern, that names the documents.

    What lies above says where a corpus is kept, and nothing of its documents.
    """
    folder = documents.rstrip("/")
    if not uri.startswith(f"{folder}/"):
        folder = split_pattern(documents)[0] if is_pattern(documents) else parent(uri)
    return uri.removeprefix(f"{folder.rstrip('/')}/")
