"""What a file's place tells of its documents: folders `key=value`, names such as `train-00000-of-00002`."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import unquote

import pyarrow as pa

from raytagger.corpus.roles import Roles
from raytagger.corpus.rows import RawChunk

HIVE = re.compile(r"([^=/]+)=([^/]*)")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
SPLIT_NAME = re.compile(r"(train|validation|valid|val|dev|test)(-\d{5}-of-\d{5})?(\.[a-z0-9]+)+", re.IGNORECASE)


def told_columns(uri: str, roles: Roles) -> dict[str, str | None]:
    """The columns asked for that folders name, and the split that the file's name tells."""
    *folders, name = uri.split("/")
    told = {
        unquote(found[1]): None if found[2] in ("", HIVE_NULL) else unquote(found[2])
        for folder in folders
        if (found := HIVE.fullmatch(folder))
    }
    if roles.split and (found := SPLIT_NAME.fullmatch(name)):
        told.setdefault(roles.split, found[1])
    return {column: value for column, value in told.items() if column in roles.kinds()}


def add_told(chunk: RawChunk, told: dict[str, str | None]) -> RawChunk:
    """A chunk with these columns where its file has none of their names."""
    table, names = chunk.table, set(chunk.names) | set(chunk.table.column_names)
    missing = [column for column in told if column not in names]
    for column in missing if chunk.positions else ():
        table = table.append_column(column, pa.array([told[column]] * len(chunk.positions), pa.string()))
    return replace(chunk, table=table, names=(*chunk.names, *missing))
