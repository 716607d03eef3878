"""Bundles and corpora that tests share."""

import dataclasses
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raytagger.corpus.output import SMALL
from raytagger.recipes.fit import fit
from raytagger.settings import (
    ClusterSettings,
    EncoderSettings,
    FitRun,
    OutputSettings,
    RetagRun,
    RetagSettings,
    SearchSettings,
    SourceSettings,
)

STATIC = EncoderSettings(kind="static", path="wordllama")


def small_bundle(out: str, kind: str = "mean", encoder: EncoderSettings = STATIC) -> str:
    """A bundle over the small corpus, in a second."""
    source = SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl"))
    run = FitRun(source=source, encoder=encoder, search=SearchSettings(kind=kind), output=OutputSettings(out))
    fit(run)
    return out


def faulty_bundle(out: str) -> str:
    """A bundle whose encoder the documents can kill (tests/plugins)."""
    return small_bundle(out, "dense", dataclasses.replace(STATIC, kind="faulty"))


def write_texts(path: Path, texts: list[str], start: int = 0) -> Path:
    """A Parquet file of documents d000000, d000001, …"""
    ids = [f"d{start + row:06d}" for row in range(len(texts))]
    pq.write_table(pa.table({"doc_id": ids, "text": texts}), path)
    return path


def retag_run(documents: str, bundle: str, table: str, chunk: int = 16, share: float = 0.5, **more) -> RetagRun:
    """A night over a few documents."""
    return RetagRun(
        RetagSettings(documents=documents, bundle=bundle, table=table, **more),
        SourceSettings(max_reject_share=share),
        ClusterSettings(chunk_documents=chunk),
    )
