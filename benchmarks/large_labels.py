"""An extreme label space end to end: 78,741 subject headings; the bank built, documents tagged and evaluated."""

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from raytagger.bundle import load
from raytagger.evaluate import Asked, evaluate
from raytagger.recipes.fit import fit
from raytagger.settings import (
    EncoderSettings,
    FitRun,
    OutputSettings,
    RetagRun,
    RetagSettings,
    SourceSettings,
)
from raytagger.store import Store
from raytagger.stream.output import tag_documents
from raytagger.tables import percent, table

DATA = "gnd_tibcore"
KEYS = ("P@1", "P@5", "R@10", "nDCG@5", "PSP@5", "ZSR@10", "UR@1")


def measure(data: Path, quick: bool) -> dict[str, Any]:
    source = SourceSettings(documents=str(data / DATA / "docs.parquet"), labels=str(data / DATA / "labels.parquet"))
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        encoder = EncoderSettings(kind="static", path="wordllama") if quick else EncoderSettings(max_tokens=64)
        run = FitRun(source=source, encoder=encoder, output=OutputSettings(f"{folder}/bundle"))
        started = time.perf_counter()
        fitted = fit(run)
        seconds["bank and bundle"] = time.perf_counter() - started
        started = time.perf_counter()
        again = fit(run).encoded_labels
        seconds["the same again"] = time.perf_counter() - started
        started = time.perf_counter()
        splits = ("test",) if quick else ()
        asked = RetagRun(RetagSettings(documents=source.documents, splits=splits))
        tagged = tag_documents(f"{folder}/bundle", asked, f"{folder}/tags.parquet", k=10).tagged
        seconds[f"tagging {tagged:,} documents"] = time.perf_counter() - started
        started = time.perf_counter()
        figures = evaluate(load(f"{folder}/bundle"), Store(), source, Asked(limit=24 if quick else 0))
        seconds["evaluating"] = time.perf_counter() - started
    print(table([[name, f"{value:.1f}"] for name, value in seconds.items()], ["stage", "seconds"]))
    print(table([[key, percent(figures[key])] for key in KEYS], ["metric", "%"]))
    return {
        "stages_s": seconds,
        "labels": fitted.labels,
        "encoded_first": fitted.encoded_labels,
        "encoded_again": again,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peak_worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        **{key: figures[key] for key in KEYS},
        "n_documents": figures["n_documents"],
        "n_unseen_labels": figures["n_unseen_labels"],
    }
