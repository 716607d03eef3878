"""Texts in bulk for the speed benchmarks."""

from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.corpus.debian import build_debian
from raytagger.corpus.output import small_corpus, write_corpus
from raytagger.encoders.locate import cache_folder
from raytagger.settings import ClusterSettings, SourceSettings
from raytagger.store import Store
from raytagger.stream.executor import at_work


def debian_corpus(folder: Path, documents: int, quick: bool) -> SourceSettings:
    """The Debian archive's packages and labels, the first `documents` of them; quick: the small corpus instead."""
    if quick:
        texts, labels, facts = small_corpus(Store())
    else:
        corpus = build_debian(cache_folder() / "apt")
        texts, labels, facts = corpus.documents, corpus.labels, corpus.source
    write_corpus(Store(), str(folder), texts.slice(0, documents), labels, facts)
    return SourceSettings(documents=str(folder / "docs.parquet"), labels=str(folder / "labels.parquet"))


def distinct_texts(source: SourceSettings, documents: int, path: Path) -> None:
    """As many documents as asked from a smaller corpus, each text made distinct, in files of 60,000."""
    base = pq.read_table(source.documents, columns=["text"])["text"].to_pylist()
    path.mkdir(parents=True, exist_ok=True)
    for start in range(0, documents, 60_000):
        rows = range(start, min(start + 60_000, documents))
        table = pa.table(
            {
                "doc_id": [f"d{row:08d}" for row in rows],
                "text": [f"{base[row % len(base)]} no. {row}" for row in rows],
            }
        )
        pq.write_table(table, path / f"part-{start:08d}.parquet", compression="zstd")


def ray_unless(quick: bool) -> AbstractContextManager[None]:
    """A Ray for a full run; a quick one is sooner done in this process."""
    return at_work(ClusterSettings() if quick else ClusterSettings(small_bytes=0), 0)
