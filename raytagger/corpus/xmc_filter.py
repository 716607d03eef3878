"""The extreme-classification repository's `filter_labels_train.txt` and `filter_labels_test.txt`.

Each line is a pair "row of the document, row of the label" that must not count: the label is the document itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pyarrow as pa

from raytagger.corpus.compression import COMPRESSIONS, open_unpacked, strip_compression
from raytagger.corpus.jsonl import iterate_lines
from raytagger.corpus.rows import STRINGS, RawChunk
from raytagger.errors import CorpusError
from raytagger.store import FileEntry, Store, join, parent

NAMES = {"train": "filter_labels_train.txt", "test": "filter_labels_test.txt"}
ENDINGS = (".json", ".txt")  # of the repository's documents


def is_filter(name: str) -> bool:
    """Whether a file's name is that of such pairs."""
    return strip_compression(name) in NAMES.values()


def pair_files(store: Store, documents: Iterable[FileEntry]) -> list[FileEntry]:
    """The files of pairs beside some documents: they decide which labels these have."""
    names = {entry.uri: strip_compression(entry.uri.rsplit("/", 1)[-1]) for entry in documents}
    folders = sorted({parent(uri) for uri, name in names.items() if name.endswith(ENDINGS)})
    places = [_find(store, folder, name) for folder in folders for name in NAMES.values()]
    return [store.entry(place) for place in places if place]


def read_pairs(store: Store, uri: str, split: str | None) -> dict[int, frozenset[str]]:
    """Labels by document's row, from the file of pairs beside a file of this split; none where it is not there.

    Raises:
        CorpusError: a line is not two numbers.
    """
    beside = _find(store, parent(uri), NAMES[split]) if split in NAMES else ""
    if not beside:
        return {}
    pairs: defaultdict[int, set[str]] = defaultdict(set)
    with open_unpacked(store, beside) as file:
        for number, line in enumerate(iterate_lines(file, beside), 1):
            match line.split():
                case [row, label] if row.isdigit() and label.isdigit():
                    pairs[int(row)].add(str(int(label)))
                case []:
                    continue
                case _:
                    raise CorpusError(
                        f"{beside}: line {number} is not a pair",
                        got=line[:80].decode("utf-8", "replace").strip(),
                        expected="the row of a document and the row of a label",
                    )
    return {row: frozenset(labels) for row, labels in pairs.items()}


def _find(store: Store, folder: str, name: str) -> str:
    """The file of that name, compressed or not; "" where there is none."""
    places = (join(folder, name + ending) for ending in ("", *COMPRESSIONS))
    return next((place for place in places if store.exists(place)), "")


def leave_out(chunk: RawChunk, pairs: Mapping[int, frozenset[str]], first_line: int) -> RawChunk:
    """A chunk without the labels of the pairs, which are counted; row 0 stands in the line `first_line`."""
    rows = [line - first_line for line in chunk.positions]
    if "labels" not in chunk.table.column_names or not any(row in pairs for row in rows):
        return chunk
    before = chunk.table["labels"].to_pylist()
    after = [
        labels and [label for label in labels if label not in pairs.get(row, ())]
        for row, labels in zip(rows, before, strict=True)
    ]
    left_out = sum(len(old or ()) - len(new or ()) for old, new in zip(before, after, strict=True))
    place = chunk.table.column_names.index("labels")
    table = chunk.table.set_column(place, "labels", pa.array(after, STRINGS))
    return replace(chunk, table=table, left_out=left_out)
