"""Corpora as files: `docs.parquet`, `labels.parquet` and where they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.corpus.documents import read_documents
from raytagger.corpus.labels import read_labels
from raytagger.settings import SourceSettings
from raytagger.store import Store, join

SMALL = Path(__file__).parent / "small"


def write_corpus(store: Store, output: str, documents: pa.Table, labels: pa.Table, source: dict[str, Any]) -> None:
    """Writes a corpus to a folder or prefix."""
    write_table(store, join(output, "docs.parquet"), documents)
    write_table(store, join(output, "labels.parquet"), labels)
    store.write_bytes(join(output, "SOURCE.json"), (json.dumps(source, indent=1, default=str) + "\n").encode())


def small_corpus(store: Store) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    """The small corpus that the package carries: documents, labels, and where they came from."""
    source = SourceSettings(documents=str(SMALL / "docs.jsonl"), columns=("source",))
    documents = pa.concat_tables([chunk.documents for chunk in read_documents(store, source)])
    labels = read_labels(store, str(SMALL / "labels.jsonl")).to_table()
    return documents, labels, json.loads((SMALL / "SOURCE.json").read_text())


def write_table(store: Store, uri: str, table: pa.Table) -> None:
    """Writes one Parquet file."""
    with store.writing(uri) as file:
        pq.write_table(table, file, compression="zstd")
