"""The label bank: every label text is embedded once per encoder and kept in storage for ever."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.errors import StoreError
from raytagger.progress import Progress, silent
from raytagger.schema import FloatArray
from raytagger.store import FileEntry, Store, at_once, join

SLAB_TEXTS, FIRST_TEXTS = 1024, 128  # of a file and of an encoder's call; of a call among the first texts
ABOUT = "_about.json"  # beside an encoder's embeddings; no list of these has a name that begins so
UNKNOWN = "unknown"
KEY_BYTES = 16
DAMAGE = (pa.ArrowException, KeyError, OSError)  # Arrow's own I/O errors are OSErrors


class Banked(NamedTuple):
    """Label embeddings: float32 (L, D) in the order asked, and how many had to be encoded."""

    vector_LD: FloatArray
    encoded: int


@dataclass(frozen=True)
class LabelBank:
    """Embeddings keyed by text hash, in one folder an encoder, in files that are only ever added.

    Two runs may fill the same bank at once: a file is named by its content.
    """

    store: Store
    uri: str

    def embed(
        self,
        texts: Sequence[str],
        encoder_id: str,
        encode: Callable[[Sequence[str]], FloatArray],
        progress: Progress = silent,
    ) -> Banked:
        """Embeddings of texts; only texts that the bank does not know are encoded.

        A slab of 1,024 new texts is stored as soon as it is encoded, so that a killed run goes on where it was.

        Args:
            texts: with whatever prompt belongs to them.
            encoder_id: `Encoder.identity`.
            encode: texts -> float32 (n, D), unit rows in float16 precision.
            progress: told of encoded texts.

        Raises:
            StoreError: a file of the bank is damaged.
        """
        known = self._read(join(self.uri, encoder_id))
        keys = [text_key(text) for text in texts]
        new = [text for key, text in _by_key(texts).items() if key not in known]
        if new:
            progress("label bank", 0, len(new))
        parts: list[FloatArray] = []
        for start, stop in calls(len(new)):
            parts.append(encode(new[start:stop]))
            progress("label bank", stop, len(new))
            if stop % SLAB_TEXTS and stop < len(new):
                continue
            vector_SD, parts = np.concatenate(parts), []
            slab = new[stop - len(vector_SD) : stop]
            self.add(slab, encoder_id, vector_SD)
            known.update(zip(map(text_key, slab), vector_SD.astype(np.float16), strict=True))
        vector_LD = np.stack([known[key] for key in keys]).astype(np.float32)
        return Banked(vector_LD, len(new))

    def missing(self, texts: Sequence[str], encoder_id: str) -> list[str]:
        """The texts that the bank does not know, each once, in the order asked.

        The cost is that of the keys; vectors stay where they are.

        Raises:
            StoreError: a file of the bank is damaged.
        """
        folder = join(self.uri, encoder_id)
        known: set[bytes] = set()
        if self.store.exists(folder):
            known = set(chain.from_iterable(at_once(self._read_keys, self.store.list(folder))))
        return [text for key, text in _by_key(texts).items() if key not in known]

    def add(self, texts: Sequence[str], encoder_id: str, vector_SD: FloatArray) -> None:
        """Stores a slab of embeddings as a file of its own, all of it or nothing.

        Args:
            texts: with whatever prompt belongs to them.
            encoder_id: `Encoder.identity`.
            vector_SD: float32 (S, D), unit rows in float16 precision, one a text.
        """
        keys = [text_key(text) for text in texts]
        rows = [row.tobytes() for row in vector_SD.astype(np.float16)]
        table = pa.table(
            {
                "key": pa.array(keys, pa.binary(KEY_BYTES)),
                "vector": pa.array(rows, pa.binary(2 * vector_SD.shape[1])),
            }
        )
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        with self.store.writing(join(self.uri, encoder_id, f"{name}.parquet")) as file:
            pq.write_table(table, file, write_page_checksum=True)

    def licence(self, encoder_id: str, ask: Callable[[], str]) -> str:
        """The licence of an encoder; asked for once, and kept beside its embeddings.

        Args:
            encoder_id: `Encoder.identity`.
            ask: gives `Encoder.licence`; `unknown` is not kept, since a card may be out of reach for a while.
        """
        place = join(self.uri, encoder_id, ABOUT)
        if self.store.exists(place):
            return json.loads(self.store.read_bytes(place))["licence"]
        licence = ask()
        if licence != UNKNOWN:
            self.store.write_bytes(place, json.dumps({"licence": licence}).encode())
        return licence

    def _read(self, folder: str) -> dict[bytes, np.ndarray]:
        known: dict[bytes, np.ndarray] = {}
        if not self.store.exists(folder):
            return known
        for entry in self.store.list(folder):
            keys, vectors = self._read_part(entry)
            known.update(
                (key, np.frombuffer(vector, np.float16)) for key, vector in zip(keys, vectors, strict=True)
            )
        return known

    def _read_part(self, entry: FileEntry) -> tuple[list[bytes], list[bytes]]:
        try:
            table = _read_columns(io.BytesIO(self.store.read_bytes(entry.uri)), ["key", "vector"])
            return table["key"].to_pylist(), table["vector"].to_pylist()
        except DAMAGE as error:
            raise StoreError(
                f"{entry.uri} is damaged: {error}",
                remedy="Delete the file; its labels are encoded again.",
            ) from error

    def _read_keys(self, entry: FileEntry) -> list[bytes]:
        try:
            with self.store.open(entry.uri) as file:
                return _read_columns(file, ["key"])["key"].to_pylist()
        except DAMAGE:
            return self._read_part(entry)[0]  # the whole file tells damage from a line that went dead


def calls(texts: int) -> Iterator[tuple[int, int]]:
    """First and last of the texts that are encoded at once, between two lines of progress.

    Few at first, so that a slow encoder shows soon how slow it is; then 1,024, of which each costs less.
    """
    slow = min(texts, SLAB_TEXTS)
    return pairwise([*range(0, slow, FIRST_TEXTS), *range(slow, texts, SLAB_TEXTS), texts])


def _read_columns(file: BinaryIO, columns: list[str]) -> pa.Table:
    return pq.read_table(file, columns=columns, page_checksum_verification=True)


def _by_key(texts: Sequence[str]) -> dict[bytes, str]:
    """Texts by key, each once, in their order."""
    return {text_key(text): text for text in texts}


def text_key(text: str) -> bytes:
    """Sixteen bytes of a text's SHA-256."""
    return hashlib.sha256(text.encode()).digest()[:KEY_BYTES]
