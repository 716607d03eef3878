"""The label doctor: what it finds in five label sets, how long it takes, and what ill labels cost on debtags."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.ofde import source_of
from benchmarks.xrlinear_grids import STATIC
from raytagger.doctor.visit import Health, Trial, examine_labels
from raytagger.recipes.fit import fit
from raytagger.settings import EncoderSettings, FitRun, OutputSettings, SearchSettings
from raytagger.tables import table

DATA = "debtags"
ENCODER = EncoderSettings()
SETS = {
    "debtags": ENCODER,
    "attack_procedures": ENCODER,
    "arxiv_daily": STATIC,
    "eurlex_triples": STATIC,
    "gnd_tibcore": STATIC,
}
SIMILAR = 0.95


def measure(data: Path, quick: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, encoder in list(SETS.items())[: 1 if quick else None]:
        labels = data / name / "labels.parquet"
        if labels.is_file():
            health = examine_labels(str(labels), encoder, SIMILAR, Trial())
            found[name] = {"encoder": encoder.path, **summed(health)}
    kinds = list(next(iter(found.values()))["counts"])
    rows = [[name, one["labels"], *(one["counts"].get(kind, 0) for kind in kinds)] for name, one in found.items()]
    print(table([[*row, found[row[0]]["seconds"]] for row in rows], ["label set", "labels", *kinds, "s"]))
    return {"sets": found, "effects": effects(data, quick)}


def summed(health: Health) -> dict[str, Any]:
    """Without the findings themselves."""
    whole = health.as_dict()
    return {"labels": whole["n_labels"], "counts": whole["counts"], "seconds": whole["seconds"]}


def effects(data: Path, quick: bool) -> dict[str, Any]:
    """What debtags' ill unseen labels cost a frozen tagger, by kind."""
    source = source_of(data, DATA)
    with tempfile.TemporaryDirectory() as folder:
        fit(
            FitRun(
                method="frozen",
                source=source,
                encoder=ENCODER,
                search=SearchSettings("mean"),
                output=OutputSettings(folder),
            )
        )
        trial = Trial(folder, source, limit=8 if quick else 0)
        health = examine_labels(source.labels, ENCODER, SIMILAR, trial)
    print("\n".join(health.lines()[-12:]))
    effects = health.measured.effects if health.measured else []
    return {effect.left_out: asdict(effect) for effect in effects} | {"seconds": health.seconds}
