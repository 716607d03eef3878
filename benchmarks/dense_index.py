"""Dense retrieval as bundles do it, exact and by HNSW: from how many labels on an index is cheaper.

The labels are random parts of gnd_tibcore's subject headings, the queries its test documents, all by MiniLM. The
encoder's time is given, too: it reads every document first, and a search that costs little beside that needs no
index.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.growth import cpu_us, crossing, single_us
from benchmarks.ofde import ENCODER, source_of
from benchmarks.xrlinear import BANK, Banked, read_split
from raytagger.corpus import read_labels
from raytagger.encoders import Encoder, load_encoder
from raytagger.schema import FloatArray
from raytagger.search.approximate import DenseSearch, build_index
from raytagger.settings import EncoderSettings
from raytagger.store import Store
from raytagger.tables import percent, table

DATA = "gnd_tibcore"
SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 78_000)
DOCUMENTS, SINGLE, K, TURNS = 1_000, 100, 10, 3
QUICK_SIZES, QUICK_DOCUMENTS = (20, 40), 16
ENCODED = 64  # documents that the encoder is timed on
HEAD = ["labels", "exact, µs", "of encoding", "HNSW, µs", "exact, alone", "HNSW, alone", "found by HNSW"]


def measure(data: Path, quick: bool) -> dict[str, Any]:
    source = source_of(data, DATA)
    labels = read_labels(Store(), source.labels)
    texts = read_split(source, labels, "test")[0][: QUICK_DOCUMENTS if quick else DOCUMENTS]
    encoder: Any = load_encoder(EncoderSettings(kind="static", path="wordllama") if quick else ENCODER, Store())
    banked: Encoder = Banked(encoder)  # pyright: ignore[reportAssignmentType]
    label_LD = banked.encode([text or "." for text in labels.full_texts]).vector_BD
    doc_BD = banked.encode(texts).vector_BD
    timed = texts[:ENCODED]
    encode_us = cpu_us(lambda: encoder.encode(timed), len(timed), 1)
    print(f"labels and documents from {BANK}; the encoder takes {encode_us:,.0f} µs a document", flush=True)
    order, rows = np.random.default_rng(0).permutation(len(label_LD)), {}
    for size in QUICK_SIZES if quick else SIZES:
        some_LD = np.ascontiguousarray(label_LD[np.sort(order[:size])])
        rows[str(size)] = measure_size(some_LD, doc_BD, 1 if quick else TURNS)
        print(f"{size:,} labels: {rows[str(size)]}", flush=True)
    print(table(cells(rows, encode_us), HEAD))
    return {
        "encode_us": encode_us,
        "rows": rows,
        "crossover": crossing({size: row["exact"]["cpu_us"] / row["hnsw"]["cpu_us"] for size, row in rows.items()}),
        "exact_is_a_tenth_of_encoding": crossing(
            {size: 10 * row["exact"]["cpu_us"] / encode_us for size, row in rows.items()}
        ),
    }


def measure_size(label_LD: FloatArray, doc_BD: FloatArray, turns: int) -> dict[str, Any]:
    """Both searches over some labels: CPU time of a batch a document, median latency of one document alone."""
    allowed_L = np.ones(len(label_LD), bool)
    started = time.process_time()
    index, facts = build_index(label_LD, "hnsw", 0, doc_BD)
    figures: dict[str, Any] = {"build_cpu_s": time.process_time() - started, "recall@10": facts["recall@10"]}
    for kind, search in {"exact": DenseSearch.over(label_LD), "hnsw": DenseSearch.over(label_LD, index)}.items():

        def ask(rows: slice, search: DenseSearch = search) -> None:
            search.search(doc_BD[rows], allowed_L, K)

        figures[kind] = {
            "cpu_us": cpu_us(lambda ask=ask: ask(slice(None)), len(doc_BD), turns),
            "single_us": single_us(lambda row, ask=ask: ask(slice(row, row + 1)), 1, min(SINGLE, len(doc_BD))),
        }
    return figures


def cells(rows: dict[str, Any], encode_us: float) -> list[list[object]]:
    """CPU µs a document in a batch, the share of encoding, µs alone, the share of the ten best that HNSW finds."""
    return [
        [
            f"{int(size):,}",
            f"{row['exact']['cpu_us']:,.0f}",
            f"{row['exact']['cpu_us'] / encode_us:.1%}",
            f"{row['hnsw']['cpu_us']:,.0f}",
            *(f"{row[kind]['single_us']:,.0f}" for kind in ("exact", "hnsw")),
            percent(row["recall@10"]),
        ]
        for size, row in rows.items()
    ]
