"""XML0 beside its parts, unseen labels only: does the order of the paper's Table II hold?

One linear base a data set, fitted on terms; MiniLM as the encoder of label and document texts. All rows read the
same features. The weight of XML0 is chosen on hidden seen labels, as `fit` does it: 0 unless the gain is beyond
noise; `best weight` takes the best one on hidden labels all the same, and `equal weights` is the plain sum of
deviations from the mean. ConSE and label fusion stand alone, as in the paper: a document without a seen label above
the threshold has no answer by them, where the bundle would fall back to its semantic module.
"""

import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from benchmarks.corpora import ray_unless
from benchmarks.ofde import source_of
from benchmarks.xrlinear import BANK, Banked
from raytagger import metrics
from raytagger.bundle import load, unseen_labels
from raytagger.bundle.xml0 import Xml0Features, Xml0Tagger
from raytagger.corpus import read_documents, select_splits
from raytagger.evaluate import gold_matrix
from raytagger.recipes.fit import fit
from raytagger.schema import PAD, BoolArray
from raytagger.settings import (
    EncoderSettings,
    FitRun,
    LabelSettings,
    OutputSettings,
    SourceSettings,
    TrainSettings,
)
from raytagger.store import Store
from raytagger.tables import percent, table

DATA = "debtags"
SETS = ("debtags", "attack_procedures", "eurlex_triples")
SPLITS = ("test", "zeroshot")
ORDER = ("ConSE", "label fusion", "semantic", "XML0")  # of Table II, worst first
KEYS = ("UR@1", "UR@5", "P@1", "P@3", "P@5", "nDCG@3", "nDCG@5")
ALONE = ("ConSE", "label fusion")  # without the semantic module behind them
DEPTH, SEEDS, SEED, SAMPLE = 5, (0, 1, 2), 0, 100
Values = dict[str, np.ndarray]


class Asked(NamedTuple):
    """Documents that have an unseen label, with those labels alone as gold: bool CSR (B, L)."""

    texts: list[str]
    gold: sp.csr_matrix
    group_B: np.ndarray


def measure(data: Path, quick: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with ray_unless(quick):
        for name in SETS[:1] if quick else SETS:
            if not (data / name / "docs.parquet").is_file():
                print(f"{name}: not there, left out")
                continue
            for seed in SEEDS[: 3 if name == DATA and not quick else 1]:
                row = name if not seed else f"{name}, seed {seed}"
                with tempfile.TemporaryDirectory() as folder:
                    figures[row] = measure_set(source_of(data, name), row, folder, seed, quick)
    return figures


def measure_set(source: SourceSettings, name: str, folder: str, seed: int, quick: bool) -> dict[str, Any]:
    """All rows of one data set and seed."""
    tagger, cost = train(source, f"{folder}/out", name, seed)
    unseen_L = unseen_labels(tagger)
    asked = read_asked(source, tagger, unseen_L, quick)
    features = tagger.encode(asked.texts)
    found: dict[str, Values] = {}
    seconds: dict[str, float] = {}
    for row, variant in variants(tagger).items():
        started = time.process_time()
        found[row] = judge(variant, features, asked, unseen_L, row in ALONE)
        seconds[row] = time.process_time() - started
    rows = {row: summed(values, asked.group_B) for row, values in found.items()}
    cells = [
        [row, *(percent(one[key][0]) for key in KEYS), f"{1000 * seconds[row] / len(asked.texts):.1f}"]
        for row, one in rows.items()
    ]
    print(f"{name}: {len(asked.texts)} documents, {int(unseen_L.sum())} unseen labels")
    print(table(cells, ["row", *KEYS, "CPU ms a document"]))
    pairs = [(better, worse) for worse, better in pairwise(ORDER)]
    pairs += [(row, "semantic") for row in found if row not in ORDER]
    steps = {f"{a} over {b}": paired(found[a], found[b], asked.group_B) for a, b in pairs}
    for step, one in steps.items():
        print(f"{step}: UR@1 {', '.join(f'{100 * value:+.1f}' for value in one['UR@1'])}")
    values = [rows[row]["UR@1"][0] for row in ORDER]
    holds = all(low < high for low, high in pairwise(values))
    print(f"{name}: the paper's order {'holds' if holds else 'does not hold'}; weight {tagger.mixture.weight}")
    return {
        "rows": rows,
        "paired": steps,
        "order_holds": holds,
        "steps_beyond_noise": {step: bool(one["UR@1"][1] > 0) for step, one in list(steps.items())[:3]},
        "weight": tagger.mixture.weight,
        "hidden_labels": {"UR@1": tagger.manifest["metrics"]["validation"], "gain": tagger.manifest["gain"]},
        "n_documents": len(asked.texts),
        "n_unseen_labels": int(unseen_L.sum()),
        "n_without_fusion": int((~fusable(tagger, features)).sum()),
        "cpu_s": seconds,
        "training": cost,
    }


def train(source: SourceSettings, out: str, name: str, seed: int) -> tuple[Xml0Tagger, dict[str, float]]:
    """Fits the base and XML0 over it."""
    run = FitRun(
        method="xml0",
        source=source,
        encoder=EncoderSettings(max_tokens=64),
        labels=LabelSettings(bank=BANK),
        train=TrainSettings(seed=seed),
        output=OutputSettings(out),
    )
    started, cpu = time.perf_counter(), time.process_time()
    fit(run, say=lambda line: print(f"{name}: {line}", flush=True))
    cost = {"seconds": time.perf_counter() - started, "own_cpu_s": time.process_time() - cpu}
    tagger = load(out)
    assert isinstance(tagger, Xml0Tagger)
    return replace(tagger, encoder=Banked(tagger.encoder)), cost


def variants(tagger: Xml0Tagger) -> dict[str, Xml0Tagger]:
    """The rows: one tagger with other weights."""
    by_weight = {
        float(key.rsplit(" ", 1)[1]): value for key, value in tagger.manifest["metrics"]["validation"].items()
    }
    best = max(by_weight, key=lambda weight: by_weight[weight], default=0.0)

    def weighing(weight: float) -> Xml0Tagger:
        return replace(tagger, mixture=tagger.mixture._replace(weight=weight))

    conse = replace(weighing(1.0), options=replace(tagger.options, search="conse"))
    return {
        "ConSE": conse,
        "label fusion": weighing(1.0),
        "semantic": weighing(0.0),
        "XML0": tagger,
        f"XML0, best weight {best}": weighing(best),
        "XML0, equal weights": weighing(0.5),
    }


def read_asked(source: SourceSettings, tagger: Xml0Tagger, unseen_L: BoolArray, quick: bool) -> Asked:
    texts, lists, groups = [], [], []
    for chunk in read_documents(Store(), source):
        documents = select_splits(chunk.documents, SPLITS)
        texts += documents["text"].to_pylist()
        lists += documents["labels"].to_pylist()
        column = "source" if "source" in documents.column_names else "doc_id"
        groups += documents[column].to_pylist()
    gold = metrics.unseen_gold(gold_matrix(lists, tagger.labels.index)[0], unseen_L)
    rows = np.flatnonzero(metrics.count_gold(gold) > 0)
    rows = rows[:SAMPLE] if quick else rows
    group_B = np.array([str(groups[row]) for row in rows])
    return Asked([texts[row] for row in rows], sp.csr_matrix(gold[rows]), group_B)


def judge(tagger: Xml0Tagger, features: Xml0Features, asked: Asked, unseen_L: BoolArray, alone: bool) -> Values:
    """Per-document values, only unseen labels ranked; `alone`: without an answer where nothing can be fused."""
    scores = tagger.search(features, DEPTH, unseen_L)
    if alone:
        scores.label_BK[~fusable(tagger, features)] = PAD
    return {
        "UR@1": metrics.ur_at(scores, asked.gold, unseen_L, 1),
        "UR@5": metrics.ur_at(scores, asked.gold, unseen_L, 5),
        "P@1": metrics.precision_at(scores, asked.gold, 1),
        "P@3": metrics.precision_at(scores, asked.gold, 3),
        "P@5": metrics.precision_at(scores, asked.gold, 5),
        "nDCG@3": metrics.ndcg_at(scores, asked.gold, 3),
        "nDCG@5": metrics.ndcg_at(scores, asked.gold, 5),
    }


def summed(values: Values, group_B: np.ndarray) -> dict[str, list[float]]:
    """Means with 95 % intervals."""
    found = {key: metrics.interval(one, group_B, seed=SEED) for key, one in values.items()}
    return {key: [one.value, one.low, one.high] for key, one in found.items()}


def paired(ours: Values, theirs: Values, group_B: np.ndarray) -> dict[str, list[float]]:
    """How much ours exceeds theirs, with 95 % intervals."""
    found = {key: metrics.paired_difference(ours[key], theirs[key], group_B, seed=SEED) for key in KEYS}
    return {key: [one.value, one.low, one.high] for key, one in found.items()}


def fusable(tagger: Xml0Tagger, features: Xml0Features) -> BoolArray:
    """Bool (B,), documents that have a seen label above the threshold."""
    return tagger.search_seen(features.base, 1).score_BK[:, 0] > tagger.options.threshold
