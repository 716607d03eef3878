"""Files as plain bytes: `.gz` and `.zst` are unpacked on the way, damage becomes one clear error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import pyarrow as pa

from raytagger.errors import CorpusError, StoreError
from raytagger.store import Store

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
BUFFER_BYTES = 8 << 20  # one request to object storage


def strip_compression(uri: str) -> str:
    """A file's name without the ending of its compression."""
    return next((uri[: -len(end)] for end in COMPRESSIONS if uri.lower().endswith(end)), uri)


def refuse_utf16(head: bytes, uri: str) -> None:
    """Refuses a text file that begins as UTF-16 does, such as Excel's Unicode text.

    Raises:
        CorpusError: it does.
    """
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        remedy = "Convert it: iconv -f UTF-16 -t UTF-8 in > out."
        raise CorpusError(f"{uri} is written in UTF-16", expected="UTF-8", remedy=remedy)


@contextmanager
def open_unpacked(store: Store, uri: str) -> Iterator[BinaryIO]:
    """A file to read from, unpacked where its ending asks for it; then it is not seekable.

    Raises:
        CorpusError: the file is damaged; also where the block finds that while it reads.
        StoreError: storage fails.
    """
    try:
        with store.open(uri) as file:
            yield _unpacked(file, uri)
    except (pa.ArrowException, OSError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        if "AWS Error" in first_line:
            raise StoreError(f"storage failed at {uri}: {first_line}", remedy="Run again.") from error
        raise CorpusError(
            f"{uri} cannot be read: {first_line}",
            remedy="The file is cut off or not of this format; write it again or name source.format.",
        ) from error


def _unpacked(file: BinaryIO, uri: str) -> BinaryIO:
    for ending, compression in COMPRESSIONS.items():
        if uri.lower().endswith(ending):
            # The decompressor itself asks for 64 KB at a time.
            buffered = pa.BufferedInputStream(cast(Any, file), BUFFER_BYTES)
            return cast(BinaryIO, pa.CompressedInputStream(buffered, compression))
    return file
