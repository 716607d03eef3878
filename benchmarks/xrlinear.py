"""XR-Linear on three data sets beside PECOS, Omikuji and napkinXC on the same features.

debtags: all labels count, as `raytagger evaluate` does it. debian_seealso: cut to the labels that have training
documents, as for the rivals' earlier figures. gnd_tibcore: 78,741 labels, most of them without any document.

Each row's settings, ours and the rivals', are those of its grid (`xrlinear_grids.py`) that rank validation
documents best. PECOS's three trees are the mean of its three seeds' answers.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from benchmarks import xrlinear_peers
from benchmarks.corpora import ray_unless
from benchmarks.ofde import SEEDS, source_of
from benchmarks.pecos_client import Pecos
from benchmarks.peers import LeftOut
from benchmarks.rival import Rival, best
from benchmarks.xrlinear_grids import KEY, MINILM, PECOS, RIVALS, ROWS, Choice, Row, changed
from raytagger import metrics
from raytagger.bundle import load
from raytagger.bundle.tree import TreeTagger
from raytagger.corpus import LabelSet, read_documents, select_splits
from raytagger.encoders import Encoder
from raytagger.encoders.encoder import Embedded
from raytagger.encoders.locate import cache_folder
from raytagger.evaluate import Asked, Evaluation, gather, gold_matrix
from raytagger.labels import LabelBank
from raytagger.recipes.fit import fit
from raytagger.schema import Scores
from raytagger.search.ensemble import average
from raytagger.settings import (
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
KEYS = ("P@1", "P@3", "P@5", "R@10", "nDCG@5", "PSP@5")
DEPTH = 100
BANK = str(cache_folder() / "benchmarks" / "bank")  # document vectors, kept from run to run
PECOS_TREES = "PECOS, 3 trees"
SAMPLE = 1500  # documents of each split in a quick run


@dataclass
class Found:
    """A row's evaluations, one a seed, and what each cost."""

    evaluations: list[Evaluation] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)


class Answered(NamedTuple):
    """A rival's answers for validation and test documents, and what they cost."""

    scores: Scores
    cost: dict[str, Any]


def measure(data: Path, quick: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with ray_unless(quick):
        for name in ROWS:
            if not (data / name / "docs.parquet").is_file():
                print(f"{name}: not there, left out")
                continue
            with tempfile.TemporaryDirectory() as folder:
                figures[name] = measure_set(data, name, Path(folder), quick)
    rows = figures["debtags"]["rows"]
    return {
        "nDCG@5": rows["terms"]["nDCG@5"],
        "PSP@5": rows["terms"]["PSP@5"],
        "nDCG@5 with MiniLM": rows.get("terms and MiniLM", {}).get("nDCG@5"),
        **figures,
    }


def measure_set(data: Path, name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """All rows of one data set, ours and the rivals'."""
    source = source_of(data, name)
    if quick:
        source = sampled(source, folder)
    if name == "debian_seealso":
        source = cut_to_seen(source, folder)
    grouped = "source" in pq.read_schema(source.documents).names
    asked = Asked(group="source" if grouped else "")
    found: dict[str, Found] = {}
    chosen: dict[str, Choice] = {}
    for row, grid in ROWS[name].items():
        if quick and grid[0].tree.dense_weight and grid[0].encoder == MINILM:
            continue
        found[row], chosen[row] = Found(), Choice()
        add_ours(row, grid[:1] if quick else grid, found[row], chosen[row], source, asked, folder, quick)
    tagger = next(iter(found.values())).evaluations[0].tagger
    assert isinstance(tagger, TreeTagger)
    rivals = Rivals(tagger, source, asked, folder, quick)
    reasons = rivals.add()
    ours, found, chosen = list(found), found | rivals.found, chosen | rivals.chosen
    figures = {row: summed(one, asked) for row, one in found.items()}
    cells = [[row, *(percent(one[key]) for key in KEYS), f"{one['cpu_s']:.1f}"] for row, one in figures.items()]
    print(f"{name}:")
    print(table(cells, ["row", *KEYS, "training, CPU s"]))
    for rival, why in reasons.items():
        print(f"{rival}, left out: {why}")
    return {
        "rows": {row: one | {"grid": chosen[row].points} for row, one in figures.items()},
        "paired": {
            f"{mine} over {rival}": paired(found[mine], found[rival], asked)
            for mine in ours
            for rival in found
            if rival not in ours
        },
        "left_out": reasons,
        "labels": len(tagger.labels),
        "trained_labels": int((tagger.train_count_L > 0).sum()),
    }


def add_ours(
    row: str,
    grid: Sequence[Row],
    found: Found,
    choice: Choice,
    source: SourceSettings,
    asked: Asked,
    folder: Path,
    quick: bool,
) -> None:
    """Trains a row's grid on the first seed and the chosen point on the others."""
    kept = None
    for point in grid:
        out = str(folder / row / str(len(choice.points)))
        tagger, cost = train(source, point, point.seeds[0], out)
        if choice.add(changed(point), on_validation(tagger, source)):
            kept = point, out, tagger, cost
    print(f"{row}, on validation: {choice.told()}", flush=True)
    assert kept is not None
    point, out, tagger, cost = kept
    for seed in point.seeds[:1] if quick else point.seeds:
        if seed != point.seeds[0]:
            tagger, cost = train(source, point, seed, out)  # seeds share what is counted
        found.evaluations.append(gather(tagger, Store(), source, asked))
        cost["documents_per_s"] = found.evaluations[-1].summary(asked)["documents_per_s"]
        found.costs.append(cost)
        tell(f"{row}, seed {seed}", found, asked)


def on_validation(tagger: Any, source: SourceSettings) -> float:
    """nDCG@5 on the validation documents."""
    asked = Asked(split=source.validation_split, zero_shot_splits=())
    return float(gather(tagger, Store(), source, asked).summary(asked)[KEY])


def train(source: SourceSettings, row: Row, seed: int, out: str) -> tuple[TreeTagger, dict[str, Any]]:
    """Fits through the recipe; the bundle, and what fitting it took."""
    run = FitRun(
        method="xrlinear",
        source=source,
        encoder=row.encoder,
        labels=LabelSettings(bank=BANK),
        train=TrainSettings(seed=seed),
        terms=row.terms,
        tree=row.tree,
        search=SearchSettings(index=row.kind),
        output=OutputSettings(out),
    )
    started = time.perf_counter()
    with xrlinear_peers.Family() as family:
        fit(run)
    tagger = load(out)
    assert isinstance(tagger, TreeTagger)
    if tagger.encoder is not None:
        tagger = replace(tagger, encoder=Banked(tagger.encoder))
    return tagger, {"cpu_s": family.cpu_s, "seconds": time.perf_counter() - started}


@dataclass(frozen=True)
class Banked:
    """An encoder that remembers, so that test documents are encoded once for all seeds."""

    encoder: Encoder

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        prompted = [prompt + text for text in texts]
        found = LabelBank(Store(), BANK).embed(
            prompted, self.encoder.identity, lambda slab: self.encoder.encode(slab).vector_BD
        )
        return Embedded(found.vector_LD, np.zeros(len(texts), bool))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


class Rivals:
    """Rivals on our features: a run answers validation and test documents at once, and the former choose."""

    def __init__(self, ours: TreeTagger, source: SourceSettings, asked: Asked, folder: Path, quick: bool) -> None:
        self.ours, self.source, self.asked, self.folder, self.quick = ours, source, asked, folder, quick
        self.found: dict[str, Found] = {}
        self.chosen: dict[str, Choice] = {}
        self.paths = {name: folder / f"{name}.npz" for name in ("train", "gold", "test", "found")}
        train_texts, gold = read_split(source, ours.labels, source.train_split)
        parts = [read_split(source, ours.labels, split)[0] for split in (source.validation_split, "test")]
        self.texts = [text for part in parts for text in part]
        self.trained = np.flatnonzero(ours.train_count_L > 0)
        sp.save_npz(self.paths["train"], ours.terms.transform(train_texts))
        sp.save_npz(self.paths["gold"], gold[:, self.trained].astype(np.float32))
        sp.save_npz(self.paths["test"], ours.terms.transform(self.texts))

    def add(self) -> dict[str, str]:
        """Trains all of them; the reasons of those that cannot be had."""
        with Pecos(self.quick) as pecos:
            if pecos.there:
                self.add_pecos(pecos)
        reasons = pecos.left_out
        for row, grid in RIVALS.items():
            try:
                _, one = self.choose(row, grid, partial(self.ask, row))
            except LeftOut as why:
                reasons[row] = str(why)
            else:
                self.keep(row, one)
        return reasons

    def add_pecos(self, pecos: Pecos) -> None:
        """Trees of three seeds, each alone and all as one."""

        def run(settings: dict[str, Any], seed: int = SEEDS[0]) -> Answered:
            cost = xrlinear_peers.run_pecos(pecos, self.paths, self.folder / "pecos", seed, settings)
            return self.answered(cost)

        settings, first = self.choose("PECOS", PECOS, run)
        each = [first, *(run(settings, seed) for seed in SEEDS[1:])]
        for one in each:
            self.keep("PECOS", one)
        cost = {name: sum(one.cost[name] for one in each) for name in first.cost}
        self.chosen[PECOS_TREES] = self.chosen["PECOS"]
        self.keep(PECOS_TREES, Answered(average([one.scores for one in each], "average", DEPTH), cost))

    def ask(self, row: str, settings: dict[str, Any]) -> Answered:
        answer = xrlinear_peers.ask(row, self.paths, 0, settings, self.quick)
        return self.answered({"cpu_s": answer.pop("train_cpu_s"), **answer})

    def answered(self, cost: dict[str, Any]) -> Answered:
        """What lies in the file of answers."""
        return Answered(best(sp.csr_matrix(sp.load_npz(self.paths["found"])), self.trained), cost)

    def choose(
        self, row: str, grid: Sequence[dict[str, Any]], run: Callable[[dict[str, Any]], Answered]
    ) -> tuple[dict[str, Any], Answered]:
        """Runs every point; the settings and answers of the one that validation documents choose."""
        self.chosen[row] = Choice()
        kept = None
        for settings in grid:
            one = run(settings)
            if self.chosen[row].add(settings, on_validation(self.tagger(one.scores), self.source)):
                kept = settings, one
        print(f"{row}, on validation: {self.chosen[row].told()}", flush=True)
        assert kept is not None
        return kept

    def tagger(self, scores: Scores) -> Rival:
        return Rival(self.ours, self.texts, scores)

    def keep(self, row: str, one: Answered) -> None:
        """Measures answers on test documents."""
        found = self.found.setdefault(row, Found())
        found.evaluations.append(gather(self.tagger(one.scores), Store(), self.source, self.asked))
        found.costs.append(one.cost | {"documents_per_s": len(self.texts) / one.cost["predict_cpu_s"]})
        tell(row, found, self.asked)


def read_split(source: SourceSettings, labels: LabelSet, split: str) -> tuple[list[str], sp.csr_matrix]:
    """Texts and gold labels of the documents of a split that have any of the label set."""
    texts, lists = [], []
    for chunk in read_documents(Store(), source):
        documents = select_splits(chunk.documents, (split,))
        texts += documents["text"].to_pylist()
        lists += documents["labels"].to_pylist()
    gold, _ = gold_matrix(lists, labels.index)
    rows = np.flatnonzero(metrics.count_gold(gold) > 0)
    return [texts[row] for row in rows], sp.csr_matrix(gold[rows])


def values(found: Found, key: str) -> np.ndarray | metrics.Ratio:
    """Per-document values, the mean over seeds."""

    def mean(name: str) -> np.ndarray:
        return np.mean([one.ranking.joined(name) for one in found.evaluations], axis=0)

    return metrics.Ratio(mean(f"{key} gain"), mean(f"{key} best")) if key.startswith("PSP") else mean(key)


def summed(found: Found, asked: Asked) -> dict[str, Any]:
    """The means over seeds with intervals, what each seed gave, and costs."""
    each = [one.summary(asked) for one in found.evaluations]
    groups = np.concatenate(found.evaluations[0].ranking.groups)
    intervals = {}
    for key in KEYS:
        interval = metrics.interval(values(found, key), groups, seed=asked.seed)
        intervals[key] = [interval.low, interval.high]
    return {
        **{key: float(np.mean([one[key] for one in each])) for key in KEYS},
        "intervals": intervals,
        "seeds": {key: [one[key] for one in each] for key in KEYS},
        "ZSR@10": each[0]["ZSR@10"],
        "UR@1": each[0]["UR@1"],
        "n_documents": each[0]["n_documents"],
        "cpu_s": found.costs[0]["cpu_s"],
        "costs": found.costs,
    }


def paired(ours: Found, theirs: Found, asked: Asked) -> dict[str, list[float]]:
    """How much ours exceeds theirs, with 95 % intervals; documents are drawn by source."""
    groups = np.concatenate(ours.evaluations[0].ranking.groups)
    differences = {
        key: metrics.paired_difference(values(ours, key), values(theirs, key), groups, seed=asked.seed)
        for key in ("P@1", "nDCG@5", "PSP@5")
    }
    return {key: [found.value, found.low, found.high] for key, found in differences.items()}


def tell(row: str, found: Found, asked: Asked) -> None:
    """One line as soon as a row is there."""
    figures = found.evaluations[-1].summary(asked)
    print(row, *(f"{key} {percent(figures[key])}" for key in KEYS), found.costs[-1], flush=True)


def sampled(source: SourceSettings, folder: Path) -> SourceSettings:
    """Some documents of each split, drawn at random."""
    documents, rng = pq.read_table(source.documents), np.random.default_rng(0)
    split = np.array(documents["split"].to_pylist())
    rows = [rng.permutation(np.flatnonzero(split == name))[:SAMPLE] for name in np.unique(split)]
    pq.write_table(documents.take(np.sort(np.concatenate(rows))), folder / "sample.parquet")
    return replace(source, documents=str(folder / "sample.parquet"))


def cut_to_seen(source: SourceSettings, folder: Path) -> SourceSettings:
    """The labels that have training documents, and documents with those of their labels alone."""
    documents, labels = pq.read_table(source.documents), pq.read_table(source.labels)
    seen = {
        label
        for lists, split in zip(documents["labels"].to_pylist(), documents["split"].to_pylist(), strict=True)
        for label in (lists if split == source.train_split else ())
    }
    kept = [[label for label in row if label in seen] for row in documents["labels"].to_pylist()]
    column = documents.schema.get_field_index("labels")
    documents = documents.set_column(column, "labels", pa.array(kept, pa.list_(pa.string())))
    pq.write_table(documents, folder / "documents.parquet")
    is_seen = pa.array([label in seen for label in labels["id"].to_pylist()])
    pq.write_table(labels.filter(is_seen), folder / "labels.parquet")
    return replace(source, documents=str(folder / "documents.parquet"), labels=str(folder / "labels.parquet"))
