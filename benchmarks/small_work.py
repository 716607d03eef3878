"""`raytagger tag` from command to exit: in the process that was started, and on a Ray that it starts.

Debian's packages as one JSONL file, through a linear tree and through MiniLM, in turns. Where more documents are
asked than the archive has, they are repeated under new ids. Seconds are a whole command's, with its imports, the
bundle's opening and, on Ray, its start and end; CPU seconds are those of all its processes (`metered.py`). A run
before, which is not counted, compiles the kernels.

`break_even`: where the lines between the medians of two sizes cross, in bytes of document files, as
`cluster.small_bytes` counts them; Ray was sooner done at every larger size measured.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import metered
from benchmarks.corpora import debian_corpus
from raytagger.bundle import peek_manifest
from raytagger.recipes.fit import fit
from raytagger.settings import (
    ClusterSettings,
    EncoderSettings,
    FitRun,
    OutputSettings,
    SearchSettings,
    SourceSettings,
)
from raytagger.store import Store, join
from raytagger.tables import table

TOKENS, K = 32, 10  # few tokens, so that ten thousand documents take a minute
TURNS = {
    "linear": {100: 2, 1_000: 2, 10_000: 2, 100_000: 2},
    "MiniLM": {100: 2, 1_000: 2, 10_000: 2},
}
QUICK_TURNS = {"linear": {40: 1}}
ARCHIVE = 1_000_000  # more packages than it has
WAYS = {"here": ["--set", f"cluster.small_bytes={10**12}"], "ray": ["--ray"]}
CLOCKS = ("wall_s", "cpu_s")
HEADER = ["", "documents", "bytes", "turns", *(f"{way}, {clock}" for way in WAYS for clock in CLOCKS)]


class Sample(NamedTuple):
    path: Path
    documents: int
    bytes: int
    parquet_bytes: int  # of the same documents as the demo writes them


def measure(data: Path, quick: bool) -> dict[str, Any]:
    turns = QUICK_TURNS if quick else TURNS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = debian_corpus(folder / "corpus", ARCHIVE, quick)
        rows = pq.read_table(source.documents, columns=["doc_id", "text"])
        asked = sorted(set().union(*turns.values()))
        samples = {size: write_sample(rows, size, folder / f"docs{size}.jsonl") for size in asked}
        fitted = {name: fit(run) for name, run in runs(source, folder).items() if name in turns}
        bundles = {
            name: compare(fitted[name].bundle, [(samples[size], count) for size, count in counts.items()])
            for name, counts in turns.items()
        }
        pinned = join(fitted["linear"].bundle, fitted["linear"].version)
        commit = peek_manifest(pinned, Store())["commit"]
    print("\n".join(f"{name}: {found['verdict']}" for name, found in bundles.items()))
    print(table([cells(name, size) for name, found in bundles.items() for size in found["sizes"]], HEADER))
    return {
        "break_even": {name: found["break_even"] for name, found in bundles.items()},
        "bundles": bundles,
        "packages": len(rows),
        "repeated": max(asked[-1] - len(rows), 0),
        "settings": {"k": K, "tokens": TOKENS, "files": "one, JSONL", "turns": turns},
        "default_small_bytes": ClusterSettings().small_bytes,
        "commit": commit,
    }


def runs(source: SourceSettings, folder: Path) -> dict[str, FitRun]:
    return {
        "linear": FitRun(
            method="xrlinear",
            source=source,
            search=SearchSettings(index="tree"),
            output=OutputSettings(f"{folder}/linear"),
        ),
        "MiniLM": FitRun(
            source=source,
            encoder=EncoderSettings(max_tokens=TOKENS),
            search=SearchSettings("dense"),
            output=OutputSettings(f"{folder}/minilm"),
        ),
    }


def write_sample(rows: pa.Table, documents: int, path: Path) -> Sample:
    """The first documents as JSONL; where they are too few, again and again."""
    rounds = [rows] * -(-documents // len(rows))
    wanted = pa.concat_tables(rounds).slice(0, documents)
    again = [f"{name}~{number // len(rows)}" for number, name in enumerate(wanted["doc_id"].to_pylist())]
    wanted = wanted.set_column(0, "doc_id", pa.array(again))
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in wanted.to_pylist())
    sink = pa.BufferOutputStream()
    pq.write_table(wanted, sink, compression="zstd")
    return Sample(path, documents, path.stat().st_size, sink.tell())


def compare(bundle: str, samples: Sequence[tuple[Sample, int]]) -> dict[str, Any]:
    """One bundle at all sizes, smallest first."""
    tag(bundle, samples[0][0], "here")
    sizes = [
        {
            "documents": sample.documents,
            "bytes": sample.bytes,
            "parquet_bytes": sample.parquet_bytes,
            "turns": count,
            **summed([{way: tag(bundle, sample, way) for way in WAYS} for _ in range(count)]),
        }
        for sample, count in samples
    ]
    return {"break_even": break_even(sizes), "verdict": verdict(sizes), "sizes": sizes}


def tag(bundle: str, sample: Sample, way: str) -> dict[str, float]:
    """Wall and CPU seconds of the command, in processes of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, metered.__file__, sys.executable, "-m", "raytagger.cli", "tag", bundle]
        command += [
            "--documents",
            str(sample.path),
            "--output",
            f"{folder}/tags.parquet",
            "--k",
            str(K),
            *WAYS[way],
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`raytagger tag` failed ({way}, {sample.documents:,} documents): {done.stderr}")
    return json.loads(done.stdout)


def summed(turns: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Each way's median with its range, and how many processes outlived the command and had to be killed."""
    found: dict[str, Any] = {}
    for way, clock in itertools.product(WAYS, CLOCKS):
        seconds = [turn[way][clock] for turn in turns]
        found.setdefault(way, {"left": sum(turn[way]["left"] for turn in turns)})
        found[way][clock] = {"median": median(seconds), "least": min(seconds), "most": max(seconds)}
    return found


def break_even(sizes: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Above how much Ray is sooner done, by medians of wall seconds; None where that is not among the sizes.

    Args:
        sizes: smallest first, each with `documents`, `bytes`, `parquet_bytes` and both ways' seconds.
    """
    leads = [size["here"]["wall_s"]["median"] - size["ray"]["wall_s"]["median"] for size in sizes]
    before = max((number for number, lead in enumerate(leads) if lead <= 0), default=-1)
    if before in (-1, len(sizes) - 1):
        return None
    share = -leads[before] / (leads[before + 1] - leads[before])
    low, high = sizes[before], sizes[before + 1]
    keys = ("documents", "bytes", "parquet_bytes")
    return {key: round(low[key] + share * (high[key] - low[key])) for key in keys}


def verdict(sizes: Sequence[dict[str, Any]]) -> str:
    """The break-even in words."""
    found, least, most = break_even(sizes), sizes[0], sizes[-1]
    if found:
        words = f"Ray is sooner done above {found['bytes'] / 1e6:.3g} MB, about {found['documents']:,} documents"
        unsure = most["ray"]["wall_s"]["most"] >= most["here"]["wall_s"]["least"]
        return words + (f", by medians alone: at {most['documents']:,} the ranges overlap" if unsure else "")
    if most["ray"]["wall_s"]["median"] < most["here"]["wall_s"]["median"]:
        return f"Ray is sooner done at all sizes, from {least['bytes'] / 1e6:.3g} MB on"
    return f"Ray is not sooner done at {most['bytes'] / 1e6:.3g} MB, {most['documents']:,} documents"


def cells(name: str, size: dict[str, Any]) -> list[object]:
    seconds = [size[way][clock] for way in WAYS for clock in CLOCKS]
    ranges = [f"{found['median']:.1f} ({found['least']:.1f}-{found['most']:.1f})" for found in seconds]
    return [name, size["documents"], size["bytes"], size["turns"], *ranges]
