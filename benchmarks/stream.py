"""Tagging through the whole stream (Ray Data, workers, search, Parquet) over a bare loop of the same encoder.

The bare loop is what a person would write: transformers, all texts tokenised at once, sorted by length, padded to
the longest of a batch, mean pooling; the best batch size and thread count are found first, then pinned and printed.
Both start from an idle Ray and both load their model within the time measured. Turns alternate: five, whose median
ratio and range are given, each over 30,000 documents of the archive from another place on.
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import ray
import torch
from transformers import AutoModel, AutoTokenizer

from benchmarks.corpora import debian_corpus
from raytagger.encoders.locate import locate
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
from raytagger.store import Store
from raytagger.stream.cluster import connected
from raytagger.stream.output import tag_documents
from raytagger.tables import table

TOKENS, TURNS, DOCUMENTS = 48, 5, 30_000  # documents of a turn
BATCHES, THREADS = (16, 32, 64, 128), (1, 2)


class BareLoop:
    """Encodes texts and nothing else."""

    def __init__(self) -> None:
        folder = locate(EncoderSettings().path, Store())
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def encode(self, texts: list[str], batch: int) -> np.ndarray:
        ids = self.tokenizer(texts, truncation=True, max_length=TOKENS)["input_ids"]
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        vectors = np.empty((len(texts), self.model.config.hidden_size), np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            padded = self.tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
            hidden = self.model(**padded).last_hidden_state
            mask = padded["attention_mask"].unsqueeze(-1)
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            vectors[rows] = torch.nn.functional.normalize(pooled).numpy()
        return vectors


def measure(data: Path, quick: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = debian_corpus(folder / "corpus", 48 if quick else 60_000, quick)
        run = FitRun(
            source=source,
            encoder=EncoderSettings(max_tokens=TOKENS),
            search=SearchSettings("dense"),
            output=OutputSettings(f"{folder}/bundle"),
        )
        fit(run)
        texts = pq.read_table(source.documents, columns=["text"])["text"].to_pylist()
        batch, threads = tune(texts[:: max(len(texts) // (8 if quick else 768), 1)])
        print(f"bare loop pinned: batch {batch}, {threads} threads, {TOKENS} tokens; {len(texts):,} documents")
        return compare(folder, source, texts, (batch, threads), 2 if quick else TURNS)


def tune(sample: list[str]) -> tuple[int, int]:
    """The fastest batch size and thread count on a sample."""
    loop, best = BareLoop(), (0.0, 0, 0)
    for threads in THREADS:
        torch.set_num_threads(threads)
        for batch in BATCHES:
            started = time.perf_counter()
            loop.encode(sample, batch)
            rate = len(sample) / (time.perf_counter() - started)
            print(f"  batch {batch:3}, {threads} threads: {rate:6.1f} documents/s")
            best = max(best, (rate, batch, threads))
    return best[1], best[2]


def compare(
    folder: Path, source: SourceSettings, texts: list[str], pinned: tuple[int, int], turns: int
) -> dict[str, Any]:
    batch, threads = pinned
    cluster = ClusterSettings(workers=2)
    size = min(DOCUMENTS, len(texts) // 2)
    found: list[dict[str, float]] = []
    all_rows = pq.read_table(source.documents)
    with connected(cluster):
        ray.get(ray.remote(lambda: None).remote())
        for turn, first in enumerate(np.linspace(0, len(texts) - size, turns).astype(int).tolist()):
            part = folder / f"part{turn}.parquet"
            pq.write_table(all_rows.slice(first, size), part)
            asked = RetagRun(RetagSettings(documents=str(part)), SourceSettings(), cluster)
            started = time.perf_counter()
            tagged = tag_documents(f"{folder}/bundle", asked, f"{folder}/tags{turn}.parquet", k=10).tagged
            ours = tagged / (time.perf_counter() - started)
            started = time.perf_counter()
            torch.set_num_threads(threads)
            BareLoop().encode(texts[first : first + size], batch)
            bare = tagged / (time.perf_counter() - started)
            found.append({"ours_docs_s": ours, "bare_docs_s": bare, "ratio": ours / bare})
    cells = [
        [f"turn {n}", f"{row['ours_docs_s']:.1f}", f"{row['bare_docs_s']:.1f}", f"{row['ratio']:.3f}"]
        for n, row in enumerate(found)
    ]
    print(table(cells, ["", "ours, documents/s", "bare loop, documents/s", "ratio"]))
    ratios = [row["ratio"] for row in found]
    print(f"ratio: {median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    return {
        "ratio": median(ratios),
        "range": [min(ratios), max(ratios)],
        "turns": found,
        "documents": len(texts),
        "documents_a_turn": size,
        "tokens": TOKENS,
        "bare": {"batch": batch, "threads": threads},
        "ours": {"workers": cluster.workers, "threads_a_worker": 1, "chunk_documents": cluster.chunk_documents},
    }
