"""OF-DE on debtags: ours with three seeds, the paper's own, the front over the unseen bias, paired intervals.

A training takes ten minutes and more, and is kept in the cache for this very code of training, documents and
settings, for the blend's benchmark, too; the bundle is published anew by the code of today.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import kept, training_code
from raytagger import metrics
from raytagger.bundle import load
from raytagger.evaluate import Asked, Evaluation, Yardstick, gather
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
    to_values,
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
PAPER = replace(TRAIN, anchor=0.0, guard="off", pseudo_unseen=0.0)  # the weights at the end; nothing hidden
OURS, NO_ANCHOR, PLAIN = "ours", "ours without the anchor", "as in the paper"
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
        start = load(f"{folder}/frozen")
        # It learnt of no label and counted them all: what it calls unseen no row was trained on.
        yardstick = Yardstick.over([start])
        rows["frozen MiniLM"] = gather(start, Store(), source, asked, yardstick=yardstick)
        for row, train in trainings(quick).items():
            run = ofde_run(source, train, LabelSettings(), 1 if quick else 2)
            out = f"{folder}/{row}" if quick else str(kept_training(run))
            rows[row], facts[row] = train_row(run, out, asked, yardstick)
        fronts = {row: front_of(found) for row, found in rows.items()}
    figures = {row: found.summary(asked) for row, found in rows.items()}
    cells = [[row, *(percent(found[key]) for key in KEYS)] for row, found in figures.items()]
    print(table(cells, ["row", *KEYS]))
    for row, points in fronts.items():
        print(f"{row}: {', '.join(f'{b:+.2f} {percent(n)}/{percent(z)}' for b, n, z in points)}")
    main = [figures[row] for row in figures if row.startswith(f"{OURS}, seed")]
    return {
        **{key: float(np.mean([found[key] for found in main])) for key in ("nDCG@5", "ZSR@10", "UR@1")},
        "spread": {key: float(np.ptp([found[key] for found in main])) for key in ("nDCG@5", "ZSR@10", "UR@1")},
        "rows": {row: {key: found[key] for key in (*KEYS, "intervals")} for row, found in figures.items()},
        "training": facts,
        "front": fronts,
        "paired": paired(rows, asked),
    }


def trainings(quick: bool) -> dict[str, TrainSettings]:
    """The rows that are trained: ours by every seed; without the anchor, and as in the paper, by the first."""
    one, paper = QUICK_TRAIN, replace(QUICK_TRAIN, anchor=0.0, guard="off", pseudo_unseen=0.0)
    if not quick:
        one, paper = TRAIN, PAPER
    first = SEEDS[0]
    rows = {f"{OURS}, seed {seed}": replace(one, seed=seed) for seed in (SEEDS[:1] if quick else SEEDS)}
    rows[f"{NO_ANCHOR}, seed {first}"] = replace(one, seed=first, anchor=0.0)
    return rows | {f"{PLAIN}, seed {first}": replace(paper, seed=first)}


def train_row(
    run: FitRun, out: str, asked: Asked, yardstick: Yardstick | None = None
) -> tuple[Evaluation, dict[str, Any]]:
    """Trains and measures one row; its evaluation, and what training took."""
    labels = replace(run.labels, bank=f"{Path(out).parent}/bank")
    fitted = fit(replace(run, labels=labels, output=OutputSettings(out)), say=print)
    log = json.loads((Path(out) / fitted.version / "training.json").read_text())
    facts = {key: log[key] for key in ("cpu_s", "seconds", "steps", "guard", "evaluations", "chosen")}
    return gather(load(out), Store(), run.source, asked, yardstick=yardstick), facts


def ofde_run(source: SourceSettings, train: TrainSettings, labels: LabelSettings, workers: int) -> FitRun:
    """OF-DE from MiniLM."""
    return FitRun(
        method="ofde",
        source=source,
        encoder=ENCODER,
        train=train,
        labels=labels,
        search=SearchSettings("dense"),
        cluster=ClusterSettings(workers=workers),
    )


def kept_training(run: FitRun) -> Path:
    """Where the bundle of a run and its training are kept: by this code of training, these documents and labels."""
    decide = (*training_code(), Path(run.source.documents), Path(run.source.labels))
    values = {part: to_values(run)[part] for part in ("train", "encoder", "labels", "cluster")}
    return kept(f"ofde-{run.train.seed}", *decide, run=values)


def front_of(found: Evaluation) -> list[metrics.Point]:
    """nDCG@5 and ZSR@10 for every unseen bias."""
    return metrics.front(metrics.Ranked.concatenate(found.ranked), found.unseen_L, BIASES)


def paired(rows: dict[str, Evaluation], asked: Asked) -> dict[str, Any]:
    """How much seed 0 exceeds the frozen encoder and the other rows, with 95 % intervals."""
    main = rows[f"{OURS}, seed 0"]
    result = {}
    for other in ("frozen MiniLM", f"{NO_ANCHOR}, seed 0", f"{PLAIN}, seed 0"):
        for key in ("nDCG@5", "ZSR@10", "UR@1"):
            family = "ranking" if key == "nDCG@5" else "zero_shot"
            ours, theirs = getattr(main, family), getattr(rows[other], family)
            groups = np.concatenate(ours.groups)
            found = metrics.paired_difference(ours.joined(key), theirs.joined(key), groups, seed=asked.seed)
            result[f"{key} over {other}"] = [found.value, found.low, found.high]
    return result
