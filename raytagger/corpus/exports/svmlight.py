"""Feature files in svmlight's form, `label[,label] index:value …` a line: they hold no text, and say so here."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn, cast

from raytagger.corpus.compression import BUFFER_BYTES
from raytagger.corpus.jsonl import iterate_lines
from raytagger.corpus.rows import BYTE_ORDER_MARK, RawChunk, Request
from raytagger.corpus.xmc_sparse import read_xmc_sparse
from raytagger.errors import CorpusError

NUMBER = rb"[-+]?[\d.]+(?:[eE][-+]?\d+)?"
# Labels by commas, perhaps a query's id, features, perhaps a comment.
LINE = re.compile(rb"(?:%b(?:,%b)*)?(?:\s+qid:\d+)?(?:\s+\d+:%b)+\s*(?:#.*)?$" % (NUMBER, NUMBER, NUMBER))
HEADER = re.compile(rb"[ \t]*\d+[ \t]+\d+[ \t]+\d+[ \t]*(\r?\n|$)")
HEADER_BYTES = 200


def read_svmlight(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Refuses the file with the word that fits it.

    Raises:
        CorpusError: always.
    """
    _refuse(_find_line(iterate_lines(file, request.uri)), request)


def read_txt(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """A `.txt` by its first line: the XMC repository's features, which begin with their sizes, or none of ours.

    Raises:
        CorpusError: as `read_xmc_sparse`; it has no such header.
    """
    buffered = io.BufferedReader(cast(Any, file), BUFFER_BYTES)
    if not HEADER.match(buffered.peek(HEADER_BYTES)[:HEADER_BYTES].removeprefix(BYTE_ORDER_MARK)):
        _refuse(_find_line(iterate_lines(buffered, request.uri)), request)
    yield from read_xmc_sparse(buffered, request)


def _find_line(lines: Iterator[bytes]) -> bytes:
    """The first line that is neither blank nor a comment."""
    return next((line for line in lines if line.strip() and not line.startswith(b"#")), b"")


def _refuse(line: bytes, request: Request) -> NoReturn:
    got = line[:80].decode("utf-8", "replace").strip()
    if LINE.match(line):
        raise CorpusError(
            f"{request.uri} holds svmlight features and no text",
            got=got,
            expected="documents with their texts",
            remedy="Name the file that the features were made from; raytagger makes its own from the texts.",
        )
    raise CorpusError(
        f"{request.uri} has no form that is known by its ending",
        got=got,
        expected="the XMC repository's header of three numbers, or a format by name",
        remedy="Set source.format: annif-fulltext for a folder of texts, or another of docs/own-corpus.md.",
    )
