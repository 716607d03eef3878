"""Training the rankers beside PECOS: the same documents, tree and active documents, one thread each, in turns.

PECOS's clock runs in its C++ solver alone. Ours runs from gold nodes and active documents as sparse matrices to the
level's weights as one. Held-out precision is that of both sets of weights in our beam search.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks import ranker_peer
from benchmarks.pecos_client import PASSIVE, pecos_python
from benchmarks.peers import LeftOut, Peer
from raytagger import metrics
from raytagger.labels.grow import grow_tree
from raytagger.labels.pifa import pifa
from raytagger.labels.tree import LabelTree
from raytagger.search.beam import BeamSearch
from raytagger.search.layout import open_layout, write_layout
from raytagger.search.ranker import (
    Instances,
    RankerSettings,
    all_documents,
    teacher_forced,
    train_level,
)
from raytagger.tables import percent, table

DATA = "debian_seealso"
FEATURES, TURNS, QUICK_DOCUMENTS = 100_000, 5, 2000
BEAM = 10
SPLITS, LEAF = 16, 100  # of PECOS's tree, and of ours where PECOS cannot be had


class Corpus(NamedTuple):
    """Features and gold labels of the documents to train on and to test with; only labels that are trained."""

    train: sp.csr_matrix
    train_gold: sp.csr_matrix
    test: sp.csr_matrix
    test_gold: sp.csr_matrix


def measure(data: Path, quick: bool) -> dict[str, Any]:
    corpus = read_corpus(data / DATA / "docs.parquet", QUICK_DOCUMENTS if quick else None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, matrix in corpus._asdict().items():
            sp.save_npz(folder / f"{name}.npz", matrix)
        try:
            python = pecos_python(quick)
        except LeftOut as why:
            tree = grow_tree(pifa(corpus.train, sp.csr_matrix(corpus.train_gold, dtype=bool)), SPLITS, LEAF, 0)
            ours, weights = train(level_trainers(corpus, tree), 1 if quick else TURNS)
            print("PECOS, left out:", why)
            quality = {"ours": precision(corpus, tree, weights, folder / "ours")}
            return {"cpu_s": {"ours": ours.tolist()}, "quality": quality, "left_out": {"PECOS": str(why)}}
        with Peer(python, ranker_peer.__file__, **PASSIVE, OMP_NUM_THREADS="1") as pecos:
            pecos.ask({"folder": str(folder)})  # grows its tree into the folder
            tree = read_tree(folder)
            theirs = np.zeros((1 if quick else TURNS, tree.depth))

            def beside(turn: int, level: int) -> None:
                theirs[turn, level] = pecos.ask(level)

            ours, weights = train(level_trainers(corpus, tree), len(theirs), beside)
            rival = [read_weights(folder, tree, level) for level in range(tree.depth)]
        quality = {
            "ours": precision(corpus, tree, weights, folder / "ours"),
            "PECOS": precision(corpus, tree, rival, folder / "theirs"),
        }
    return report(tree, ours, theirs, quality, [weights, rival])


def train(
    trainers: Sequence[Callable[[], tuple[float, sp.csc_matrix]]],
    turns: int,
    beside: Callable[[int, int], None] = lambda turn, level: None,
) -> tuple[np.ndarray, list[sp.csc_matrix]]:
    """CPU seconds (turns, levels) and each level's weights; `beside` has a rival train the same level."""
    trainers[0]()  # compiles
    cpu_s, weights = np.zeros((turns, len(trainers))), []
    for turn in range(turns):
        weights.clear()
        for level, trainer in enumerate(trainers):
            cpu_s[turn, level], weight = trainer()
            beside(turn, level)
            weights.append(weight)
    return cpu_s, weights


def read_corpus(path: Path, limit: int | None) -> Corpus:
    """TF-IDF of words and pairs of words, features numbered by document frequency."""
    rows = pq.read_table(path, columns=["text", "labels", "split"]).to_pylist()
    train = [row for row in rows if row["split"] == "train"][:limit]
    test = [row for row in rows if row["split"] == "test"]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), max_features=FEATURES, sublinear_tf=True, dtype=np.float32)  # pyright: ignore[reportArgumentType]
    train_NV = sp.csr_matrix(vectorizer.fit_transform([row["text"] for row in train]))
    test_NV = sp.csr_matrix(vectorizer.transform([row["text"] for row in test]))
    order = np.argsort(-np.bincount(train_NV.indices, minlength=len(vectorizer.vocabulary_)), kind="stable")
    names = sorted({label for row in train for label in row["labels"]})
    number = {label: column for column, label in enumerate(names)}
    parts = []
    for matrix, documents in ((train_NV, train), (test_NV, test)):
        gold = [sorted({number[label] for label in row["labels"] if label in number}) for row in documents]
        offset = np.cumsum([0, *map(len, gold)])
        labels = np.array([label for row in gold for label in row], np.int32)
        features = sp.csr_matrix(matrix[:, order])
        features.sort_indices()
        parts += [
            features,
            sp.csr_matrix((np.ones(len(labels), np.float32), labels, offset), (len(gold), len(names))),
        ]
    return Corpus(*parts)


def read_tree(folder: Path) -> LabelTree:
    """PECOS's tree with its nodes numbered so that siblings stand side by side."""
    offsets, order = [], np.zeros(1, np.int32)
    for level in range(len(list(folder.glob("chain*.npz")))):
        chain = sp.csc_matrix(sp.load_npz(folder / f"chain{level}.npz"))
        children = [chain.indices[chain.indptr[node] : chain.indptr[node + 1]] for node in order]
        offsets.append(np.cumsum([0, *map(len, children)]))
        order = np.concatenate(children).astype(np.int32)
        np.save(folder / f"order{level}.npy", order)
    return LabelTree(tuple(offsets), order)


def read_weights(folder: Path, tree: LabelTree, level: int) -> sp.csc_matrix:
    """PECOS's weights of a level in the tree's order."""
    weight = sp.csc_matrix(sp.load_npz(folder / f"weight{level}.npz"))[:, np.load(folder / f"order{level}.npy")]
    weight.sort_indices()
    return sp.csc_matrix(weight)


def level_trainers(corpus: Corpus, tree: LabelTree) -> list[Callable[[], tuple[float, sp.csc_matrix]]]:
    """A function a level that trains it, and gives its CPU seconds and weights."""
    gold = tree.gold_by_level(sp.csr_matrix(corpus.train_gold, dtype=bool))
    documents = len(corpus.train.indptr) - 1

    def trainer(level: int) -> Callable[[], tuple[float, sp.csc_matrix]]:
        def train() -> tuple[float, sp.csc_matrix]:
            started = time.process_time()
            active = teacher_forced(gold[level - 1]) if level else all_documents(documents)
            instances = Instances(corpus.train, gold[level], active, tree.offsets[level])
            weight = train_level(instances, RankerSettings()).matrix()
            return time.process_time() - started, weight

        return train

    return [trainer(level) for level in range(tree.depth)]


def precision(corpus: Corpus, tree: LabelTree, weights: list[sp.csc_matrix], folder: Path) -> dict[str, float]:
    """P@1, 3 and 5 on the test documents that have a label that is trained."""
    os.makedirs(folder)
    write_layout(folder, tree, weights, None)
    scores = BeamSearch(open_layout(folder), "l3-hinge", "product", BEAM).search(corpus.test, 5)
    gold = sp.csr_matrix(corpus.test_gold, dtype=bool)
    return {f"P@{k}": float(metrics.mean_defined(metrics.precision_at(scores, gold, k))) for k in (1, 3, 5)}


def report(
    tree: LabelTree,
    ours: np.ndarray,
    theirs: np.ndarray,
    quality: dict[str, dict[str, float]],
    weights: list[list[sp.csc_matrix]],
) -> dict[str, Any]:
    """Prints both tables; what `measure` answers."""
    ours_s, theirs_s = np.median(ours, axis=0), np.median(theirs, axis=0)
    kept = [[weight.nnz for weight in side] for side in weights]
    rows = []
    for level in [*range(tree.depth), slice(None)]:
        cpu_s = [side[level].sum() for side in (theirs_s, ours_s)]
        counts = [np.array(side)[level].sum() for side in (kept[1], kept[0])]
        name = "whole" if isinstance(level, slice) else f"{tree.width[level]:,} nodes"
        seconds = (f"{value:.2f}" for value in cpu_s)
        rows.append([name, *seconds, f"{cpu_s[0] / cpu_s[1]:.1f}", *(f"{count:,}" for count in counts)])
    print(table(rows, ["level", "PECOS CPU s", "ours", "ratio", "PECOS's weights", "ours"]))
    keys = list(quality["ours"])
    print(table([[name, *(percent(found[key]) for key in keys)] for name, found in quality.items()], ["", *keys]))
    return {
        "ratio": float(theirs_s.sum() / ours_s.sum()),
        "ratio_leaf": float(theirs_s[-1] / ours_s[-1]),
        "ratio_levels": (theirs_s / ours_s).tolist(),
        "cpu_s": {"ours": ours.tolist(), "PECOS": theirs.tolist()},
        "weights": {"ours": kept[0], "PECOS": kept[1]},
        "quality": quality,
        "left_out": {},
        "points_apart": {key: 100 * (quality["ours"][key] - quality["PECOS"][key]) for key in keys},
    }
