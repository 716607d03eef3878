"""Consecutive documents of a file, as every reader of a corpus gets them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class DocumentChunk:
    """Consecutive documents of a file.

    Attributes:
        start: how many rows of the file stand before the chunk's first.
        documents: `doc_id` and `text` (string), `labels` (list<string>) and `split` (string), both null where
            absent, then the columns that `source.columns` names.
        rejects: rows of `REJECT_SCHEMA` with an empty `run_id`.
        names: the file's columns, asked for or not, as far as they are known.
        hint: which of them look like labels where none is named so; "" otherwise.
        left_out: gold labels that the XMC repository's list of pairs takes away.
        over_lines: ids of the rows of delimited text that take several lines.
    """

    start: int
    documents: pa.Table
    rejects: pa.Table
    names: tuple[str, ...] = ()
    hint: str = ""
    left_out: int = 0
    over_lines: tuple[str, ...] = ()
