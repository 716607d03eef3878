"""Raw text to ten tags, tokenising included: our bundles beside PECOS's pipeline and scikit-learn with PECOS.

debian_seealso, words and pairs of words, a tree of 20 thousand labels, in turns, one thread of theirs:

    imported   PECOS's own model and vectoriser as a bundle: the same answers
    trained    our recipe's model: words as scikit-learn sees them. It also answers, by their texts, 4,098 labels
               that no document was trained on, which none of the others can
    PECOS      its C++ TF-IDF, then its beam search, in the better of its two layer types
    sklearn    scikit-learn's TF-IDF, then PECOS's beam search over a model of those features

`ratio_pecos` and `ratio_sklearn_pecos` are of `imported`; those of `trained` stand beside them. Runs of white space
become single spaces first: PECOS cannot read back a vectoriser that has seen a line break.
"""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp

import raytagger
from benchmarks.beam_models import disagreements
from benchmarks.kept import OURS, kept
from benchmarks.pecos_client import LAYERS, PASSIVE, PECOS, Pecos, pecos_python
from benchmarks.peers import Peer
from raytagger import metrics
from raytagger.bundle import Tagger
from raytagger.recipes.fit import fit
from raytagger.recipes.import_pecos import import_pecos
from raytagger.schema import PAD, Scores
from raytagger.settings import FitRun, make_run
from raytagger.tables import table

DATA = "debian_seealso"
K, SPLITS, LEAF = 10, 16, 100
TURNS, SINGLE_TURNS, SINGLE = 9, 5, 300
OWN, ROWS = ("imported", "trained"), ("pecos", "sklearn")
PEER = Path(__file__).with_name("text_to_tags_peer.py")


def measure(data: Path, quick: bool) -> dict[str, Any]:
    with Pecos(quick) as pecos, ExitStack() as stack:
        files = [data / DATA / f"{part}.parquet" for part in ("docs", "labels")]
        folder = kept("text_to_tags", Path(__file__), PEER, PECOS, OURS, *files, rivals=pecos.there)
        texts, gold = write_corpus(data / DATA, folder)
        peer = None
        if pecos.there:
            peer = stack.enter_context(Peer(pecos_python(quick), PEER, **PASSIVE))
            peer.ask({"folder": str(folder)})
            peer.ask({"do": "fit"})
        build(data / DATA, folder, pecos, peer)
        if peer:
            peer.ask({"do": "open"})
        ours = {name: raytagger.load(str(folder / f"bundle_{name}")) for name in OWN[0 if peer else 1 :]}
        cpu_s = batches(ours, peer, texts, 2 if quick else TURNS)
        seconds = singles(ours, peer, texts[:SINGLE], 1 if quick else SINGLE_TURNS)
    rate = {row: len(texts) / float(np.median(found)) for row, found in cpu_s.items()}
    p50 = {row: 1e6 * float(np.median(found)) for row, found in seconds.items()}
    tagged = {row: tagger.tag(texts, K) for row, tagger in ours.items()}
    theirs = {row: sp.csr_matrix(sp.load_npz(folder / f"found_{row}.npz")) for row in ROWS if peer}
    best = {row: best_layers(rate, row) for row in theirs}
    scores = {**tagged, **{best[row]: ranked(found) for row, found in theirs.items()}}
    p_at_1 = {row: metrics.mean_defined(metrics.precision_at(found, gold, 1)) for row, found in scores.items()}
    rows = [[row, f"{rate[row]:,.0f}", f"{p50[row]:.0f}", f"{100 * p_at_1.get(row, np.nan):.2f}"] for row in rate]
    print(table(rows, ["row", "documents / CPU s", "one text, p50 µs", "P@1"]))
    beside = over_rivals(rate, p50, best) if peer else {}
    if peer:
        same = disagreements(tagged["imported"], theirs["pecos"])
        beside["agreement"] = {key: float(value) for key, value in same.items()}
    return {
        **beside,
        "rate_docs_cpu_s": rate,
        "p50_us": p50,
        "P@1": p_at_1,
        "turns": cpu_s,
        "left_out": pecos.left_out,
    }


def over_rivals(rate: dict[str, float], p50: dict[str, float], best: dict[str, str]) -> dict[str, Any]:
    """How many times ours is as fast."""
    alone = min(p50[f"pecos {layers}"] for layers in LAYERS)
    return {
        "ratio_pecos": rate["imported"] / rate[best["pecos"]],
        "ratio_sklearn_pecos": rate["imported"] / rate[best["sklearn"]],
        "ratio_pecos_trained": rate["trained"] / rate[best["pecos"]],
        "ratio_sklearn_pecos_trained": rate["trained"] / rate[best["sklearn"]],
        "ratio_single_pecos": alone / p50["imported"],
        "ratio_single_pecos_trained": alone / p50["trained"],
    }


def write_corpus(source: Path, folder: Path) -> tuple[list[str], sp.csr_matrix]:
    """Test texts and their gold labels; the training split goes to `train.json` and `gold.npz`."""
    folder.mkdir(parents=True, exist_ok=True)
    docs = pq.read_table(source / "docs.parquet")
    ids = pq.read_table(source / "labels.parquet", columns=["id"])["id"].to_pylist()
    column = {label: number for number, label in enumerate(ids)}
    rows = docs["labels"].to_pylist()
    numbers = np.array([column[label] for row in rows for label in row], np.int64)
    ones, offset = np.ones(len(numbers), np.float32), np.cumsum([0, *map(len, rows)])
    gold = sp.csr_matrix((ones, numbers, offset), (len(rows), len(ids)))
    split, texts = docs["split"].to_numpy(), [" ".join(text.split()) for text in docs["text"].to_pylist()]
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    (folder / "train.json").write_text(json.dumps([texts[row] for row in train]))
    (folder / "test.json").write_text(json.dumps([texts[row] for row in test]))
    sp.save_npz(folder / "gold.npz", gold[train])
    return [texts[row] for row in test], sp.csr_matrix(gold[test], dtype=bool)


def build(source: Path, folder: Path, pecos: Pecos, peer: Peer | None) -> None:
    """Trains all models on first use, and makes our bundles."""
    if (folder / "ready.json").is_file():
        return
    labels = str(source / "labels.parquet")
    if peer:
        for row in ROWS:
            task = {"documents": str(folder / f"{row}.npz"), "gold": str(folder / "gold.npz"), "splits": SPLITS}
            pecos.ask("train", model=str(folder / row), **task)
        peer.ask({"do": "fit"})  # saving the model has emptied its folder
        import_pecos(folder / "pecos", str(folder / "bundle_imported"), labels)
    values = {
        "method": "xrlinear",
        "source": {"documents": str(source / "docs.parquet"), "labels": labels},
        "tree": {"splits": SPLITS, "leaf": LEAF},
        "search": {"index": "tree", "k": K},
        "output": {"bundle": str(folder / "bundle_trained")},
    }
    fit(make_run(values, FitRun))
    (folder / "ready.json").write_text("{}")


def batches(ours: dict[str, Tagger], peer: Peer | None, texts: list[str], turns: int) -> dict[str, list[float]]:
    """CPU seconds of each turn over all texts."""
    cpu_s: dict[str, list[float]] = {}
    for _ in range(turns):
        for row, tagger in ours.items():
            started = time.process_time()
            tagger.tag(texts, K)
            cpu_s.setdefault(row, []).append(time.process_time() - started)
        for row, layers in product(ROWS, LAYERS):
            if peer:
                answer = peer.ask({"do": "batch", "row": row, "layers": layers, "k": K})
                cpu_s.setdefault(f"{row} {layers}", []).append(answer["cpu_s"])
    return cpu_s


def singles(ours: dict[str, Tagger], peer: Peer | None, texts: Sequence[str], turns: int) -> dict[str, list[float]]:
    """Wall seconds of single texts."""
    seconds: dict[str, list[float]] = {}
    for _ in range(turns):
        for row, tagger in ours.items():
            for text in texts:
                started = time.perf_counter()
                tagger.tag([text], K)
                seconds.setdefault(row, []).append(time.perf_counter() - started)
        for row, layers in product(ROWS, LAYERS):
            if peer:
                asked = {"row": row, "layers": layers, "k": K, "documents": len(texts)}
                answer = peer.ask({"do": "single", **asked})
                seconds.setdefault(f"{row} {layers}", []).extend(answer["seconds"])
    return seconds


def best_layers(rate: dict[str, float], row: str) -> str:
    """The row's faster layer type."""
    return max((f"{row} {layers}" for layers in LAYERS), key=lambda name: rate[name])


def ranked(found: sp.csr_matrix) -> Scores:
    """PECOS's matrix as our result, best first."""
    documents = len(found.indptr) - 1
    label_BK = np.full((documents, K), PAD, np.int32)
    score_BK = np.full((documents, K), -np.inf, np.float32)
    label, score = np.asarray(found.indices), np.asarray(found.data, np.float32)
    for row in range(documents):
        entries = np.arange(found.indptr[row], found.indptr[row + 1])
        entries = entries[np.lexsort((label[entries], np.negative(score[entries])))]
        label_BK[row, : len(entries)], score_BK[row, : len(entries)] = label[entries], score[entries]
    return Scores(label_BK, score_BK)
