"""OF-DE on debtags: three seeds, the front over the unseen bias, paired intervals."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raytagger import metrics
from raytagger.bundle import load
from raytagger.evaluate import Asked, Evaluation, gather
from raytagger.recipes.fit import fit
from raytagger.settings import (
    ClusterSettings,
    EncoderSettings,
    FitRun,
    LabelSettings,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    TrainSettings,
)
from raytagger.store import Store
from raytagger.tables import percent, table

DATA = "debtags"
SEEDS = (0, 1, 2)
BIASES = tuple(round(0.02 * step, 2) for step in range(-4, 13))
KEYS = ("P@1", "nDCG@5", "PSP@5", "ZSR@10", "ZSR@50", "UR@1", "UR@5")
ENCODER = EncoderSettings(max_tokens=64)
TRAIN = TrainSettings(
    epochs=1, frozen_layers=5, learning_rate=1e-4, projection_rate=1e-3, evaluations=6, pseudo_unseen=0.05
)
QUICK, QUICK_TRAIN = (
    24,
    replace(TRAIN, max_steps=2, batch_size=4, evaluations=1),
)  # documents measured; the training


def source_of(data: Path, name: str) -> SourceSettings:
    """A data set's files, grouped by `source` where it has one."""
    columns = ("source",) if name == "debtags" else ()
    folder = data / name
    return SourceSettings(str(folder / "docs.parquet"), str(folder / "labels.parquet"), columns=columns)


def measure(data: Path, quick: bool) -> dict[str, Any]:
    source = source_of(data, DATA)
    asked = Asked(group="source", limit=QUICK if quick else 0, details=True)
    train, workers = (QUICK_TRAIN, 1) if quick else (TRAIN, 2)
    rows: dict[str, Evaluation] = {}
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        frozen = FitRun(
            source=source,
            encoder=ENCODER,
            search=SearchSettings("dense"),
            output=OutputSettings(f"{folder}/frozen"),
        )
        fit(frozen)
        rows["frozen MiniLM"] = gather(load(f"{folder}/frozen"), Store(), source, asked)
        for seed in SEEDS[:1] if quick else SEEDS:
            kinds = {"OF-DE λ=1": 1.0} | ({} if seed else {"OF-DE λ=1, no anchor": 0.0})
            for name, anchor in kinds.items():
                row = f"{name}, seed {seed}"
                settings = replace(train, seed=seed, anchor=anchor)
                rows[row], facts[row] = train_row(
                    source, settings, LabelSettings(), f"{folder}/{row}", asked, workers
                )
        fronts = {row: front_of(found) for row, found in rows.items()}
    figures = {row: found.summary(asked) for row, found in rows.items()}
    cells = [[row, *(percent(found[key]) for key in KEYS)] for row, found in figures.items()]
    print(table(cells, ["row", *KEYS]))
    for row, points in fronts.items():
        print(f"{row}: {', '.join(f'{b:+.2f} {percent(n)}/{percent(z)}' for b, n, z in points)}")
    main = [figures[row] for row in figures if row.startswith("OF-DE λ=1, seed")]
    return {
        **{key: float(np.mean([found[key] for found in main])) for key in ("nDCG@5", "ZSR@10", "UR@1")},
        "spread": {key: float(np.ptp([found[key] for found in main])) for key in ("nDCG@5", "ZSR@10", "UR@1")},
        "rows": {row: {key: found[key] for key in (*KEYS, "intervals")} for row, found in figures.items()},
        "training": facts,
        "front": fronts,
        "paired": paired(rows, asked),
    }


def train_row(
    source: SourceSettings, train: TrainSettings, labels: LabelSettings, out: str, asked: Asked, workers: int
) -> tuple[Evaluation, dict[str, Any]]:
    """Trains and measures one row; its evaluation, and what training took."""
    run = FitRun(
        method="ofde",
        source=source,
        encoder=ENCODER,
        train=train,
        labels=replace(labels, bank=f"{Path(out).parent}/bank"),
        search=SearchSettings("dense"),
        cluster=ClusterSettings(workers=workers),
        output=OutputSettings(out),
    )
    fit(run, say=print)
    version = next(path for path in Path(out).iterdir() if (path / "training.json").exists())
    log = json.loads((version / "training.json").read_text())
    facts = {key: log[key] for key in ("cpu_s", "seconds", "steps", "guard", "evaluations", "chosen")}
    return gather(load(out), Store(), source, asked), facts


def front_of(found: Evaluation) -> list[metrics.Point]:
    """nDCG@5 and ZSR@10 for every unseen bias."""
    return metrics.front(metrics.Ranked.concatenate(found.ranked), found.unseen_L, BIASES)


def paired(rows: dict[str, Evaluation], asked: Asked) -> dict[str, Any]:
    """How much seed 0 exceeds the frozen encoder and the row without the anchor, with 95 % intervals."""
    main = rows["OF-DE λ=1, seed 0"]
    result = {}
    for other in ("frozen MiniLM", "OF-DE λ=1, no anchor, seed 0"):
        for key in ("nDCG@5", "ZSR@10", "UR@1"):
            family = "ranking" if key == "nDCG@5" else "zero_shot"
            ours, theirs = getattr(main, family), getattr(rows[other], family)
            groups = np.concatenate(ours.groups)
            found = metrics.paired_difference(ours.joined(key), theirs.joined(key), groups, seed=asked.seed)
            result[f"{key} over {other}"] = [found.value, found.low, found.high]
    return result
