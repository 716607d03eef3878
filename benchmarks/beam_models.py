"""The models that the beam benchmarks search: trained by PECOS, once, and kept in the cache.

Where PECOS cannot be had, our own training makes them.

`20k`: debian_seealso, where labels are the packages that a package recommends. `200k`: rare phrases of two or three
words of the Debian descriptions as labels, a problem of speed and not of quality: features and labels come from the
same text.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from benchmarks.kept import OURS, kept
from benchmarks.pecos_client import PECOS, Pecos
from benchmarks.trained import train_weights
from benchmarks.xrlinear_peers import write_pecos
from raytagger.labels.grow import grow_tree
from raytagger.labels.pifa import pifa
from raytagger.recipes.import_pecos import read_pecos
from raytagger.schema import FloatArray, Scores
from raytagger.search.beam import BeamSearch, warm
from raytagger.search.layout import open_layout, write_layout

FEATURES = 100_000
SPLITS, LEAF = {"20k": 16, "200k": 32}, 100
SETS = {"20k": ("debian_seealso",), "200k": ("debtags", "debian_seealso")}
BEAM = K = 10
CLOSE = 1e-4
PHRASES, TEST = 200_000, 4_000


class Problem(NamedTuple):
    """Files of one problem."""

    model: Path  # folder that PECOS wrote
    train: Path  # float32 CSR (N, V)
    gold: Path  # float32 CSR (N, L)
    test: Path  # float32 CSR (B, V)
    test_gold: Path


def names(quick: bool) -> tuple[str, ...]:
    """The problems that a run measures."""
    return ("20k",) if quick else ("20k", "200k")


def import_model(problem: Problem, folder: Path, dense: list[FloatArray] | None = None) -> BeamSearch:
    """PECOS's model in our layout, opened, with the kernel compiled."""
    model = read_pecos(problem.model)
    write_layout(folder, model.tree, model.weights, dense, renumber=True)
    search = BeamSearch(open_layout(folder), model.transform, model.combiner, BEAM)
    warm(search.layout)
    return search


def disagreements(found: Scores, theirs: sp.csr_matrix) -> dict[str, float]:
    """How our labels differ from PECOS's: wrongly, and by ties at the cut.

    Each of PECOS's labels must be among ours with a score within `CLOSE`, or as near to our last one: then another
    label of the same score is in its place.
    """
    wrong, tied, largest = 0, 0, 0.0
    for row in range(len(found)):
        ours = dict(zip(found.label_BK[row].tolist(), found.score_BK[row].tolist(), strict=True))
        entries = slice(theirs.indptr[row], theirs.indptr[row + 1])
        for label, score in zip(theirs.indices[entries].tolist(), theirs.data[entries].tolist(), strict=True):
            apart = abs(score - ours.get(label, float(found.score_BK[row, -1])))
            tied += label not in ours
            wrong += apart > CLOSE
            largest = max(largest, apart)
    return {"entries": int(theirs.nnz), "wrong": wrong, "tied": tied, "largest_difference": largest}


def build(data: Path, name: str, pecos: Pecos) -> Problem:
    """The problem of that name, made and trained on first use (200k: some minutes)."""
    files = [data / of / f"{part}.parquet" for of in SETS[name] for part in ("docs", "labels")]
    folder = kept(f"beam_{name}", Path(__file__), PECOS if pecos.there else OURS, *files, rivals=pecos.there)
    files = ("train.npz", "gold.npz", "test.npz", "test_gold.npz")
    problem = Problem(folder / "model", *(folder / file for file in files))
    if not (folder / "ready.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for path, matrix in zip(problem[1:], _MAKERS[name](data), strict=True):
            sp.save_npz(path, matrix.astype(np.float32))
        took = (train_theirs if pecos.there else train_ours)(problem, SPLITS[name], pecos)
        (folder / "ready.json").write_text(json.dumps(took))
    return problem


def train_theirs(problem: Problem, splits: int, pecos: Pecos) -> dict[str, Any]:
    """PECOS's model; what it took."""
    files = {"documents": str(problem.train), "gold": str(problem.gold), "model": str(problem.model)}
    return pecos.ask("train", **files, splits=splits)


def train_ours(problem: Problem, splits: int, pecos: Pecos) -> dict[str, Any]:
    """The same by our own code, in PECOS's format; its labels are the tree's places."""
    doc_NV, gold = (sp.csr_matrix(sp.load_npz(path)) for path in (problem.train, problem.gold))
    gold = sp.csr_matrix(gold, dtype=bool)
    tree = grow_tree(pifa(doc_NV, gold), splits, LEAF, 0)
    write_pecos(problem.model, tree, train_weights(tree, doc_NV, gold))
    return pecos.left_out


Matrices = tuple[sp.csr_matrix, sp.csr_matrix, sp.csr_matrix, sp.csr_matrix]


def _seealso(data: Path) -> Matrices:
    """Train and test of debian_seealso, documents and gold."""
    docs = pq.read_table(data / "debian_seealso" / "docs.parquet")
    labels = pq.read_table(data / "debian_seealso" / "labels.parquet", columns=["id"])["id"].to_pylist()
    column = {label: number for number, label in enumerate(labels)}
    gold = docs["labels"].to_pylist()
    numbers = np.array([column[label] for row in gold for label in row], np.int64)
    offset = np.cumsum([0, *map(len, gold)])
    gold_NL = sp.csr_matrix((np.ones(len(numbers), np.float32), numbers, offset), (len(gold), len(labels)))
    split = docs["split"].to_numpy()
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split != "train")
    train_NV, test_NV = _features(docs["text"].to_pylist(), train, test)
    return train_NV, gold_NL[train], test_NV, gold_NL[test]


def _phrases(data: Path) -> Matrices:
    """Rare phrases as labels: in two to eight documents, sampled."""
    docs = pa.concat_tables(
        pq.read_table(data / name / "docs.parquet", columns=["id", "text"]) for name in SETS["200k"]
    )
    texts = list(dict(zip(docs["id"].to_pylist(), docs["text"].to_pylist(), strict=True)).values())
    counter = CountVectorizer(ngram_range=(2, 3), binary=True)
    count = sp.csc_matrix(counter.fit_transform(texts), dtype=np.float32)
    frequency = np.diff(count.indptr)
    rng = np.random.default_rng(0)
    rare = np.flatnonzero((frequency >= 2) & (frequency <= 8))
    gold_NL = count[:, np.sort(rng.choice(rare, PHRASES, replace=False))].tocsr()
    order = rng.permutation(len(texts))
    train, test = np.sort(order[TEST:]), np.sort(order[:TEST])
    train_NV, test_NV = _features(texts, train, test)
    return train_NV, gold_NL[train], test_NV, gold_NL[test]


def _features(texts: list[str], train: np.ndarray, test: np.ndarray) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """TF-IDF of words and pairs of words, unit rows."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), max_features=FEATURES, sublinear_tf=True, min_df=2)
    train_NV = vectorizer.fit_transform([texts[row] for row in train])
    test_NV = vectorizer.transform([texts[row] for row in test])
    return sp.csr_matrix(train_NV, dtype=np.float32), sp.csr_matrix(test_NV, dtype=np.float32)


_MAKERS = {"20k": _seealso, "200k": _phrases}
