"""XR-Linear on three data sets beside PECOS, Omikuji and napkinXC on the same features.

debtags: all labels count, as `raytagger evaluate` does it. debian_seealso: cut to the labels that have training
documents, as for the rivals' earlier figures. gnd_tibcore: 78,741 labels, most of them without any document.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from raytagger.settings import (
    EncoderSettings,
    FitRun,
    LabelSettings,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    TermSettings,
    TrainSettings,
    TreeSettings,
)
from raytagger.store import Store
from raytagger.tables import percent, table

DATA = "debtags"
KEYS = ("P@1", "P@3", "P@5", "R@10", "nDCG@5", "PSP@5")
DEPTH = 100
BANK = str(cache_folder() / "benchmarks" / "bank")  # document vectors, kept from run to run
MINILM = EncoderSettings(max_tokens=64)
STATIC = EncoderSettings(kind="static", path="wordllama")  # of label texts, which help to cluster rare labels
WORDS = TermSettings(ngrams=1)
SEEALSO = TreeSettings(embedding="pifa+text", splits=256, negatives="tfn+man")  # the best on the val split
OF_THREE = (0, 3, 6)  # seeds of ensembles that have no tree in common


class Row(NamedTuple):
    """Settings that are measured."""

    tree: TreeSettings = TreeSettings()
    kind: str = "auto"
    terms: TermSettings = TermSettings()
    encoder: EncoderSettings = MINILM
    seeds: tuple[int, ...] = SEEDS


ROWS = {
    "debtags": {
        "terms": Row(),
        "terms, tree": Row(kind="tree"),
        "terms, 3 trees": Row(TreeSettings(trees=3), "tree", seeds=OF_THREE),
        "terms and MiniLM": Row(
            TreeSettings(dense_weight=0.7, cost_positive=0.5, cost_negative=0.5),
            terms=TermSettings(min_frequency=1),
        ),
    },
    "debian_seealso": {
        "tree": Row(SEEALSO, terms=WORDS, encoder=STATIC),
        "3 trees": Row(replace(SEEALSO, trees=3), "tree", WORDS, STATIC, OF_THREE),
        "3 trees by PIFA alone": Row(replace(SEEALSO, trees=3, embedding="pifa"), "tree", WORDS, STATIC, OF_THREE),
        "3 trees, terms and static vectors": Row(
            replace(SEEALSO, trees=3, embedding="pifa", dense_weight=0.5, combine="rank_average"),
            "tree",
            WORDS,
            STATIC,
            OF_THREE,
        ),
    },
    "gnd_tibcore": {"tree": Row(seeds=(0,)), "3 trees": Row(TreeSettings(trees=3), seeds=(0,))},
}
SAMPLE = 1500  # documents of each split in a quick run


@dataclass
class Found:
    """A row's evaluations, one a seed, and what each cost."""

    evaluations: list[Evaluation] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)


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
    for row, settings in ROWS[name].items():
        if quick and settings.tree.dense_weight and settings.encoder == MINILM:
            continue
        found[row] = Found()
        for seed in settings.seeds[:1] if quick else settings.seeds:
            out = str(folder / str(len(found)))  # seeds share what is counted
            tagger, cost = train(source, settings, seed, out)
            found[row].evaluations.append(gather(tagger, Store(), source, asked))
            cost["documents_per_s"] = found[row].evaluations[-1].summary(asked)["documents_per_s"]
            found[row].costs.append(cost)
            tell(f"{name}: {row}, seed {seed}", found[row], asked)
    tagger = next(iter(found.values())).evaluations[0].tagger
    assert isinstance(tagger, TreeTagger)
    reasons = add_rivals(found, tagger, source, asked, folder, quick)
    figures = {row: summed(one, asked) for row, one in found.items()}
    cells = [[row, *(percent(one[key]) for key in KEYS), f"{one['cpu_s']:.1f}"] for row, one in figures.items()]
    print(f"{name}:")
    print(table(cells, ["row", *KEYS, "training, CPU s"]))
    for rival, why in reasons.items():
        print(f"{rival}, left out: {why}")
    return {
        "rows": figures,
        "paired": {
            f"{ours} over {rival}": paired(found[ours], found[rival], asked)
            for ours in ROWS[name]
            for rival in found
            if ours in found and rival not in ROWS[name]
        },
        "left_out": reasons,
        "labels": len(tagger.labels),
        "trained_labels": int((tagger.train_count_L > 0).sum()),
    }


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


def add_rivals(
    found: dict[str, Found],
    ours: TreeTagger,
    source: SourceSettings,
    asked: Asked,
    folder: Path,
    quick: bool,
) -> dict[str, str]:
    """Trains the rivals on our features; the reasons of those that cannot be had."""
    seeds = SEEDS[:1] if quick else SEEDS
    paths = {name: folder / f"{name}.npz" for name in ("train", "gold", "test", "found")}
    train_texts, gold = read_split(source, ours.labels, source.train_split)
    test_texts, _ = read_split(source, ours.labels, "test")
    trained = np.flatnonzero(ours.train_count_L > 0)
    sp.save_npz(paths["train"], ours.terms.transform(train_texts))
    sp.save_npz(paths["gold"], gold[:, trained].astype(np.float32))
    sp.save_npz(paths["test"], ours.terms.transform(test_texts))

    def add(row: str, cost: dict[str, Any]) -> None:
        scores = best(sp.csr_matrix(sp.load_npz(paths["found"])), trained)
        found.setdefault(row, Found()).evaluations.append(
            gather(Rival(ours, test_texts, scores), Store(), source, asked)
        )
        found[row].costs.append(cost | {"documents_per_s": len(test_texts) / cost["predict_cpu_s"]})
        tell(row, found[row], asked)

    with Pecos(quick) as pecos:
        for seed in seeds if pecos.there else ():
            add("PECOS", xrlinear_peers.run_pecos(pecos, paths, folder / f"pecos{seed}", seed))
    reasons = pecos.left_out
    for row in xrlinear_peers.RIVAL_NAMES:
        try:
            answer = xrlinear_peers.ask(row, paths, 0, quick)
        except LeftOut as why:
            reasons[row] = str(why)
        else:
            add(row, {"cpu_s": answer.pop("train_cpu_s"), **answer})
    return reasons


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
