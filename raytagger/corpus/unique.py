"""Of several documents with one id the first in the corpus's order counts; the others are rejects."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raytagger.corpus.chunk import DocumentChunk
from raytagger.schema import REJECT_SCHEMA, BoolArray

HashArray = npt.NDArray[np.uint64]


class FirstOfEachId:
    """Takes later documents of an id out of the chunks of a corpus.

    Memory is 8 bytes a document (for a moment 16): an id is known by its hash, so that among ten million documents
    one is taken for a duplicate by mistake with probability 3e-6.
    """

    def __init__(self) -> None:
        self._seen = HashRuns()

    def of(self, chunk: DocumentChunk) -> DocumentChunk:
        """The next chunk, its duplicates among its rejects with the reason `duplicate_id`."""
        ids = chunk.documents["doc_id"].to_pylist()
        twice = self._seen.add(hash_ids(ids))
        if not twice.any():
            return chunk
        rows = [ids[row] for row in np.flatnonzero(twice)]
        count, error = len(rows), "an earlier document has this id"
        columns = [rows, ["read"] * count, ["duplicate_id"] * count, [error] * count, [""] * count]
        rejects = pa.concat_tables([chunk.rejects, pa.table(columns, schema=REJECT_SCHEMA)])
        return replace(chunk, documents=chunk.documents.filter(pa.array(~twice)), rejects=rejects)


class HashRuns:
    """A set of 64-bit hashes: a few sorted arrays, merged so that each is over twice the next."""

    def __init__(self) -> None:
        self._runs: list[HashArray] = []

    def add(self, hashes: HashArray) -> BoolArray:
        """Adds hashes; True where one was there or stands earlier among them. O(log N) each, amortised."""
        unique, first = np.unique(hashes, return_index=True)
        before = np.ones(len(hashes), np.bool_)
        before[first] = False
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            before |= run[places] == hashes
        new = np.sort(hashes[~before]) if before.any() else unique
        while self._runs and len(self._runs[-1]) <= 2 * len(new):
            # A stable sort finds the two runs and merges them.
            new = np.sort(np.concatenate([self._runs.pop(), new]), kind="stable")
        if len(new):
            self._runs.append(new)
        return before


def hash_ids(ids: list[str]) -> HashArray:
    """64-bit hashes, the same in every process."""
    digests = b"".join(blake2b(value.encode(), digest_size=8).digest() for value in ids)
    return np.frombuffer(digests, np.uint64)
