"""λ and the two switches for unseen labels, as a small table on three data sets; short trainings, one seed."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.ofde import QUICK, QUICK_TRAIN, TRAIN, ofde_run, source_of, train_row
from raytagger.evaluate import Asked
from raytagger.settings import LabelSettings, SourceSettings
from raytagger.tables import percent, table

DATA = "debtags"
SETS = {"debtags": 60, "attack_procedures": 60, "gnd_tibcore": 16}  # steps of each
SAMPLE = {"train": 4000, "val": 200, "test": 1000, "zeroshot": 1000}  # documents of each split, drawn at random
KEYS = ("nDCG@5", "ZSR@10", "UR@1")
ROWS = {
    "λ=0, unseen unknown": (0.0, False, False),
    "λ=1, unseen unknown": (1.0, False, False),
    "λ=1, unseen in the auxiliary task": (1.0, False, True),
    "λ=0, unseen as negatives": (0.0, True, False),
    "λ=1, unseen as negatives and in the auxiliary task": (1.0, True, True),
}


def measure(data: Path, quick: bool) -> dict[str, Any]:
    results: dict[str, dict[str, Any]] = {}
    source = SourceSettings()
    for name, steps in {DATA: 2}.items() if quick else SETS.items():
        if not (data / name / "docs.parquet").is_file():
            print(f"{name}: not there, left out")
            continue
        with tempfile.TemporaryDirectory() as folder:  # one label bank for all rows
            for number, (row, switches) in enumerate(ROWS.items()):
                source = (
                    source if number else sampled(source_of(data, name), Path(folder), QUICK if quick else None)
                )
                found = train_switched(source, switches, steps, f"{folder}/{number}", quick)
                results[f"{name}: {row}"] = found
                print(name, row, *(percent(found[key]) for key in KEYS), flush=True)
    cells = [[row, *(percent(figures[key]) for key in KEYS)] for row, figures in results.items()]
    print(table(cells, ["row", *KEYS]))
    return {"rows": results, "steps": SETS}


def sampled(source: SourceSettings, folder: Path, limit: int | None) -> SourceSettings:
    """Some documents of each split; unused ones would only be read and tokenised."""
    documents, rng = pq.read_table(source.documents), np.random.default_rng(0)
    split = np.array(documents["split"].to_pylist())
    rows = [rng.permutation(np.flatnonzero(split == name))[:most][:limit] for name, most in SAMPLE.items()]
    pq.write_table(documents.take(np.sort(np.concatenate(rows))), folder / "docs.parquet")
    return replace(source, documents=str(folder / "docs.parquet"))


def train_switched(
    source: SourceSettings, switches: tuple[float, bool, bool], steps: int, out: str, quick: bool
) -> dict[str, Any]:
    """The figures of a training without guard and anchor."""
    auxiliary, negatives, in_auxiliary = switches
    train, workers = (QUICK_TRAIN, 1) if quick else (TRAIN, 2)
    train = replace(train, max_steps=steps, evaluations=1, guard="off", pseudo_unseen=0.0, anchor=0.0)
    labels = LabelSettings(unseen_in_negatives=negatives, unseen_in_auxiliary=in_auxiliary)
    asked = Asked(limit=QUICK if quick else 0)
    found, _ = train_row(ofde_run(source, replace(train, auxiliary=auxiliary), labels, workers), out, asked)
    figures = found.summary(asked)
    return {key: figures[key] for key in (*KEYS, "intervals")}
