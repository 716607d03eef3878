"""Frozen rows on debtags: ranking on `test`, zero-shot on `test` and `zeroshot`, labels from the label file."""

import tempfile
from pathlib import Path
from typing import Any

from raytagger.bundle import load
from raytagger.evaluate import Asked, evaluate
from raytagger.recipes.fit import fit
from raytagger.settings import EncoderSettings, FitRun, OutputSettings, SearchSettings, SourceSettings
from raytagger.store import Store
from raytagger.tables import percent, table

DATA = "debtags"
MINILM = EncoderSettings(max_tokens=128)
STATIC = EncoderSettings(kind="static", path="wordllama", max_tokens=128)
ROWS = {
    "popularity": ("popularity", MINILM),
    "BM25": ("bm25", MINILM),
    "TF-IDF": ("tfidf", MINILM),
    "static vectors": ("dense", STATIC),
    "MiniLM": ("dense", MINILM),
    "mean of TF-IDF and MiniLM": ("mean", MINILM),
}
KEYS = ("P@1", "nDCG@5", "PSP@5", "ZSR@10", "ZSR@50", "UR@1", "UR@5")


def measure(data: Path, quick: bool) -> dict[str, Any]:
    source = SourceSettings(
        documents=str(data / DATA / "docs.parquet"), labels=str(data / DATA / "labels.parquet"), columns=("source",)
    )
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, encoder) in ROWS.items():
            out = f"{folder}/{name.replace(' ', '-')}"
            fit(FitRun(source=source, encoder=encoder, search=SearchSettings(kind), output=OutputSettings(out)))
            asked = Asked(group="source", limit=8 if quick else 0)
            rows[name] = evaluate(load(out), Store(), source, asked)
    cells = [
        [name, *(percent(figures[key]) for key in KEYS), f"{figures['documents_per_s']:,.0f}"]
        for name, figures in rows.items()
    ]
    print(table(cells, ["row", *KEYS, "documents/s"]))
    kept = (*KEYS, "intervals", "chance_ZSR@10", "n_documents", "n_unseen_pairs", "documents_per_s")
    return {"rows": {name: {key: figures[key] for key in kept} for name, figures in rows.items()}}
