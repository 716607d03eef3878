"""The driver's peak memory at 60,000 and at 600,000 documents: each size in a driver process of its own."""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.corpora import debian_corpus, distinct_texts
from raytagger.recipes.fit import fit
from raytagger.retag.run import retag
from raytagger.settings import (
    EncoderSettings,
    FitRun,
    OutputSettings,
    RetagRun,
    RetagSettings,
    SearchSettings,
)
from raytagger.tables import table

SIZES, QUICK_SIZES = (60_000, 600_000), (100, 200)


def measure(data: Path, quick: bool) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = debian_corpus(folder / "corpus", 60_000, quick)
        static = EncoderSettings(kind="static", path="wordllama", max_tokens=128)
        bundle = f"{folder}/bundle"
        fit(FitRun(source=source, encoder=static, search=SearchSettings("dense"), output=OutputSettings(bundle)))
        for size in QUICK_SIZES if quick else SIZES:
            distinct_texts(source, size, folder / f"docs{size}")
            command = [sys.executable, "-m", "benchmarks.stream_memory", f"{folder}/docs{size}", bundle]
            command.append(f"{folder}/tags{size}")
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    cells = [[f"{row['documents']:,}", row["peak_mb"], f"{row['docs_s']:,.0f}"] for row in rows]
    print(table(cells, ["documents", "driver's peak MB", "documents/s"]))
    return {"rows": rows, "growth": rows[-1]["peak_mb"] / rows[0]["peak_mb"]}


def drive(documents: str, bundle: str, tags: str) -> None:
    """One whole night in this process."""
    night = retag(RetagRun(RetagSettings(documents=documents, bundle=bundle, table=tags)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"documents": night.books.new, "peak_mb": peak_mb, "docs_s": night.summary.rate_docs_s}))


if __name__ == "__main__":
    drive(*sys.argv[1:])
