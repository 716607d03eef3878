"""The label bank: every label text is embedded once per encoder and kept in storage for ever."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.errors import StoreError
from raytagger.progress import Progress, silent
from raytagger.schema import FloatArray
from raytagger.store import Store, join

SLAB_TEXTS = 1024
KEY_BYTES = 16


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
        folder = join(self.uri, encoder_id)
        known = self._read(folder)
        keys = [text_key(text) for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        missing = list(new)
        for start in range(0, len(missing), SLAB_TEXTS):
            slab = missing[start : start + SLAB_TEXTS]
            vector_SD = encode([new[key] for key in slab]).astype(np.float16)
            self._write(folder, slab, vector_SD)
            known.update(zip(slab, vector_SD, strict=True))
            progress("label bank", min(start + SLAB_TEXTS, len(missing)), len(missing))
        vector_LD = np.stack([known[key] for key in keys]).astype(np.float32)
        return Banked(vector_LD, len(missing))

    def _read(self, folder: str) -> dict[bytes, np.ndarray]:
        known: dict[bytes, np.ndarray] = {}
        if not self.store.exists(folder):
            return known
        for entry in self.store.list(folder):
            try:
                keys, vectors = _read_part(self.store.read_bytes(entry.uri))
            except (pa.ArrowException, KeyError, OSError) as error:  # Arrow's own I/O errors are OSErrors
                raise StoreError(
                    f"{entry.uri} is damaged: {error}",
                    remedy="Delete the file; its labels are encoded again.",
                ) from error
            known.update(
                (key, np.frombuffer(vector, np.float16)) for key, vector in zip(keys, vectors, strict=True)
            )
        return known

    def _write(self, folder: str, keys: list[bytes], vector_SD: np.ndarray) -> None:
        table = pa.table(
            {
                "key": pa.array(keys, pa.binary(KEY_BYTES)),
                "vector": pa.array([row.tobytes() for row in vector_SD], pa.binary(2 * vector_SD.shape[1])),
            }
        )
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        with self.store.writing(join(folder, f"{name}.parquet")) as file:
            pq.write_table(table, file, write_page_checksum=True)


def _read_part(data: bytes) -> tuple[list[bytes], list[bytes]]:
    table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    return table["key"].to_pylist(), table["vector"].to_pylist()


def text_key(text: str) -> bytes:
    """Sixteen bytes of a text's SHA-256."""
    return hashlib.sha256(text.encode()).digest()[:KEY_BYTES]
