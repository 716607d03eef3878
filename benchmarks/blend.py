"""The blend beside its members and the plain hybrid: debtags with OF-DE, and three more data sets without.

OF-DE's trainings are those of the benchmark `ofde`, kept in the cache.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.blend_hybrid import Sides, beside_hybrid, hybrid_of
from benchmarks.blend_places import places_taken
from benchmarks.corpora import ray_unless
from benchmarks.ofde import ENCODER, QUICK, QUICK_TRAIN, TRAIN, kept_training, ofde_run, source_of
from benchmarks.xrlinear import BANK, Banked
from raytagger import metrics
from raytagger.bundle import Tagger, load
from raytagger.bundle.blend import BlendTagger
from raytagger.calibration import Evidence, fit_thresholds
from raytagger.evaluate import Asked, Evaluation, Yardstick, gather
from raytagger.recipes.fit import fit
from raytagger.schema import Scores
from raytagger.settings import (
    BlendSettings,
    EncoderSettings,
    FitRun,
    LabelSettings,
    OutputSettings,
    SourceSettings,
    ThresholdSettings,
    TrainSettings,
)
from raytagger.store import Store
from raytagger.tables import percent, table
from raytagger.vectors import merge_disjoint

DATA = "debtags"
SEEDS = (0, 1, 2)
OTHERS = {"attack_procedures": ENCODER, "eurlex_triples": ENCODER, "gnd_tibcore": ENCODER}
KEYS = ("nDCG@5", "R@10", "PSP@5", "ZSR@10", "UR@1", "UR@5", "micro_F1", "ECE_seen", "ECE_rare", "ECE_unseen")
AXES = ("nDCG@5", "ZSR@10", "UR@1")


def measure(data: Path, quick: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, ray_unless(quick):
        figures["debtags"] = measure_debtags(data, Path(folder), quick)
        for name, encoder in {} if quick else OTHERS.items():
            if (data / name / "docs.parquet").is_file():
                figures[name] = measure_other(data, name, encoder, Path(folder))
    main = [row for name, row in figures["debtags"]["rows"].items() if name.startswith("blend with OF-DE, seed")]
    main = main or [row for name, row in figures["debtags"]["rows"].items() if name.startswith("blend")]
    means = {key: defined_mean([row[key] for row in main]) for key in (*AXES, "ECE_seen", "ECE_unseen")}
    return {**means, "spread": {key: float(np.ptp([row[key] for row in main])) for key in AXES}, **figures}


def defined_mean(values: list[float | None]) -> float | None:
    """The mean; None where one of them is undefined, as an ECE of too few labels."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if len(defined) == len(values) else None


def measure_debtags(data: Path, folder: Path, quick: bool) -> dict[str, Any]:
    source, asked = source_of(data, DATA), Asked(group="source", limit=QUICK if quick else 0, details=True)
    train = QUICK_TRAIN if quick else TRAIN
    found: dict[str, Evaluation] = {}
    curves: dict[str, Any] = {}
    frozen = member(source, "frozen", 0, ENCODER, folder / "frozen")
    measured = measuring(frozen, source, asked)
    found["frozen"] = measured(frozen)
    for seed in SEEDS[:1] if quick else SEEDS:
        linear = f"xrlinear-{seed}"
        places = [member(source, "xrlinear", seed, ENCODER, folder / linear), frozen]
        found[linear] = measured(places[0])
        row = f"blend, seed {seed}"
        found[row] = measured(blended(source, places, seed, ENCODER, folder))
        curves[row] = over_hybrid(found[row], found[linear], found["frozen"], source, asked)
        if quick:
            continue
        name, row = f"ofde-{seed}", f"blend with OF-DE, seed {seed}"
        places.append(member(source, "ofde", seed, ENCODER, folder / name, train))
        found[name] = measured(places[-1])
        found[row] = measured(blended(source, places, seed, ENCODER, folder))
        curves[row] = over_hybrid(found[row], found[linear], found["frozen"], source, asked)
        row = f"blend with OF-DE, cascade, seed {seed}"
        found[row] = measured(blended(source, places, seed, ENCODER, folder, cascade=True))
    return summed(DATA, found, asked) | {"beside the plain hybrid": curves}


def measure_other(data: Path, name: str, encoder: EncoderSettings, folder: Path) -> dict[str, Any]:
    """Without OF-DE: which axes the blend has in hand is asked of cheap members too."""
    source, asked = source_of(data, name), Asked(details=True)
    places = [member(source, method, 0, encoder, folder / name / method) for method in ("xrlinear", "frozen")]
    measured = measuring(places[1], source, asked)
    found = {Path(place).name: measured(place) for place in places}
    row = "blend, seed 0"
    found[row] = measured(blended(source, places, 0, encoder, folder / name))
    curve = over_hybrid(found[row], found["xrlinear"], found["frozen"], source, asked)
    return summed(name, found, asked) | {"beside the plain hybrid": {row: curve}}


def over_hybrid(
    blend: Evaluation, linear: Evaluation, frozen: Evaluation, source: SourceSettings, asked: Asked
) -> list[dict[str, Any]]:
    """The blend's curve over the bias beside that of the hybrid of two of its members."""
    tagger: Any = blend.tagger
    as_believed = replace(tagger, unseen_bias=0.0, full=tagger.full._replace(shown=None))
    on_validation = replace(asked, split=source.validation_split, zero_shot_splits=())
    join = hybrid_of(linear.tagger, frozen.tagger, source, asked.seed)

    def ranked(tagger: Tagger, asked: Asked) -> metrics.Ranked:
        return metrics.Ranked.concatenate(gather(tagger, Store(), source, asked).ranked)

    of_members = (linear, frozen)
    ours = Sides(ranked(as_believed, on_validation), ranked(as_believed, asked))
    hybrid = Sides(
        join(*(ranked(one.tagger, on_validation) for one in of_members)),
        join(*(metrics.Ranked.concatenate(one.ranked) for one in of_members)),
    )
    return beside_hybrid(ours, hybrid, blend.unseen_L, asked.seed)


def member(
    source: SourceSettings,
    method: str,
    seed: int,
    encoder: EncoderSettings,
    out: Path,
    train: TrainSettings = TRAIN,
) -> str:
    """Trains a member; its folder."""
    train = replace(train, seed=seed)
    run = FitRun(method=method, source=source, encoder=encoder, train=train)
    if method == "ofde":
        run = ofde_run(source, train, LabelSettings(), 2)
        out = kept_training(run)
    fit(replace(run, labels=LabelSettings(bank=BANK), output=OutputSettings(str(out))), say=print)
    return str(out)


def blended(
    source: SourceSettings,
    places: list[str],
    seed: int,
    encoder: EncoderSettings,
    folder: Path,
    cascade: bool = False,
) -> str:
    """Fits a blend; its folder."""
    run = FitRun(
        method="blend",
        source=source,
        encoder=encoder,
        train=replace(TRAIN, seed=seed),
        blend=BlendSettings(members=tuple(places), cascade=cascade),
        output=OutputSettings(str(folder / "blend")),
    )
    fit(run, say=print)
    return run.output.bundle


def measuring(frozen: str, source: SourceSettings, asked: Asked) -> Callable[[str], Evaluation]:
    """A function that measures a bundle, all by one set of unseen labels.

    A frozen tagger counted every training document: what it calls unseen no other was trained on.
    """
    yardstick = Yardstick.over([load(frozen)])

    def measure_one(place: str) -> Evaluation:
        return gather(remembering(load(place)), Store(), source, asked, yardstick=yardstick)

    return measure_one


def remembering(tagger: Tagger) -> Tagger:
    """The same tagger; texts that its encoders have read before are not encoded again."""
    if isinstance(tagger, BlendTagger):
        banked: dict[int, Banked] = {}
        members = []
        for one in tagger.members:
            encoder: Any = getattr(one, "encoder", None)
            if encoder is not None:
                shared: Any = banked.setdefault(id(encoder), Banked(encoder))
                one = replace(one, encoder=shared)  # pyright: ignore[reportCallIssue, reportArgumentType]
            members.append(one)
        return replace(tagger, members=tuple(members))
    encoder = getattr(tagger, "encoder", None)
    return tagger if encoder is None else replace(tagger, encoder=Banked(encoder))  # pyright: ignore[reportCallIssue, reportArgumentType]


def summed(name: str, found: dict[str, Evaluation], asked: Asked) -> dict[str, Any]:
    rows = {row: one.summary(asked) for row, one in found.items()}
    cells = [[row, *("-" if one[key] is None else percent(one[key]) for key in KEYS)] for row, one in rows.items()]
    print(f"{name}:")
    print(table(cells, ["row", *KEYS]))
    alone = [row for row in found if not row.startswith("blend")]
    blends = [row for row in found if row.startswith("blend")]
    manifests = {row: found[row].tagger.manifest for row in blends}
    facts = (
        "unseen_bias",
        "shown",
        "curve",
        "joined",
        "guessed",
        "members",
        "cascade",
        "thresholds",
        "pseudo_unseen",
    )
    return {
        "rows": {row: {key: one[key] for key in (*KEYS, "intervals")} for row, one in rows.items()},
        "over the best member": {
            row: {axis: best(found, row, alone, axis, asked) for axis in AXES} for row in blends
        },
        "seen labels": {
            row: places_taken(metrics.Ranked.concatenate(one.ranked), one.unseen_L) for row, one in found.items()
        },
        "loss of micro-F1": {row: lost(found[row], rows[row]["micro_F1"]) for row in blends},
        "fitted": {
            row: {fact: manifest.get(fact) for fact in (*facts, "judged_by")} for row, manifest in manifests.items()
        },
    }


def best(
    found: dict[str, Evaluation], row: str, alone: list[str], axis: str, asked: Asked
) -> dict[str, Any] | None:
    """The paired difference to the member that is best on an axis, with its 95 % interval."""
    family = "ranking" if axis == "nDCG@5" else "zero_shot"
    values = {name: getattr(found[name], family).joined(axis) for name in [row, *alone]}
    if not np.isfinite(values[row]).any():
        return None
    rival = max(alone, key=lambda name: np.nanmean(values[name]))
    groups = np.concatenate(getattr(found[row], family).groups)
    paired = metrics.paired_difference(values[row], values[rival], groups, seed=asked.seed)
    return {"member": rival, "difference": [paired.value, paired.low, paired.high]}


def lost(blend: Evaluation, on_test: float) -> dict[str, float | None]:
    """What the threshold tuned on validation loses on test: to its micro-F1 there, and to the best one of test.

    The latter is over the labels that an evaluation keeps of each document.
    """
    on_validation = blend.tagger.manifest["thresholds"].get("micro_F1")
    ranked = metrics.Ranked.concatenate(blend.ranked)
    rows = np.flatnonzero(ranked.in_ranking_B & (metrics.count_gold(ranked.gold) > 0))
    k = min(blend.tagger.keep_k, metrics.FRONT_DEPTH)
    both = merge_disjoint(ranked.seen, ranked.unseen, k)
    scores = Scores(both.label_BK[rows], both.score_BK[rows])
    evidence = Evidence(ranked.group_B[rows], blend.tagger.train_count_L, 0, 0)
    gold = ranked.gold[rows]
    best = fit_thresholds(scores, gold, ThresholdSettings(per_label="never"), k, evidence)
    own = metrics.micro_f1(metrics.tag_matrix(blend.tagger.keep(scores, k), len(blend.tagger.labels)), gold)
    return {
        "to validation": None if on_validation is None else on_validation - on_test,
        "to the best threshold of test": best.report["micro_F1"] - own,
    }
