"""λ and the two switches for unseen labels, as a small table on three data sets; short trainings, one seed."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.ofde import TRAIN, source_of, train_row
from raytagger.evaluate import Asked
from raytagger.settings import LabelSettings
from raytagger.tables import percent, table

DATA = "debtags"
SETS = {"debtags": 80, "attack_procedures": 80, "gnd_tibcore": 24}  # steps of each
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
    for name, steps in SETS.items():
        if not (data / name / "docs.parquet").is_file():
            print(f"{name}: not there, left out")
            continue
        for row, (auxiliary, negatives, in_auxiliary) in ROWS.items():
            train = replace(
                TRAIN,
                max_steps=2 if quick else steps,
                evaluations=1,
                auxiliary=auxiliary,
                anchor=0.0,
                guard="off",
                pseudo_unseen=0.0,
            )
            labels = LabelSettings(unseen_in_negatives=negatives, unseen_in_auxiliary=in_auxiliary)
            asked = Asked(zero_shot_splits=("test", "zeroshot"), limit=100 if quick else 2000)
            with tempfile.TemporaryDirectory() as folder:
                found, _ = train_row(source_of(data, name), train, labels, f"{folder}/out", asked)
            figures = found.summary(asked)
            results[f"{name}: {row}"] = {key: figures[key] for key in (*KEYS, "intervals")}
    cells = [[row, *(percent(figures[key]) for key in KEYS)] for row, figures in results.items()]
    print(table(cells, ["row", *KEYS]))
    return {"rows": results, "steps": SETS}
