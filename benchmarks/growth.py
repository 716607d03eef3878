"""From a thousand labels to a million: time, memory and latency of the tree, of one matrix, of PECOS and of faiss.

Trees are grown over synthetic embeddings; weights are synthetic and as many as in trained models (about 150 a
label, siblings sharing their features), documents have about 80 features. Ours and PECOS hold the same weights.
faiss searches dense vectors of the same labels, another task: its cost is shown beside, not its answers.
"""

import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from benchmarks.ofde import source_of
from benchmarks.pecos_client import Pecos
from benchmarks.peers import bring
from benchmarks.trained import train_weights
from benchmarks.xrlinear import read_split
from benchmarks.xrlinear_peers import time_pecos, write_pecos
from raytagger.corpus import read_labels
from raytagger.labels.grow import grow_tree
from raytagger.labels.pifa import pifa
from raytagger.labels.tree import LabelTree
from raytagger.recipes.rank import SURE, open_level
from raytagger.schema import FloatArray, Scores
from raytagger.search.approximate import import_faiss
from raytagger.search.beam import BeamSearch, warm
from raytagger.search.layout import open_layout, write_layout
from raytagger.store import Store
from raytagger.tables import table
from raytagger.vectors import TfIdf, top_k

TRAINED = {
    "debtags": (125, 250, 492),
    "debian_seealso": (250, 500, 1_000, 2_000),
    "gnd_tibcore": (500, 1_000, 2_000),
}
SIZES = (250, 500, 1_000, 2_000, 4_000, 10_000, 100_000, 1_000_000)
FLAT_AT_MOST, HNSW_AT_MOST = 10_000, 100_000  # labels; building a graph of a million takes longer than all the rest
FEATURES, WIDTH = 100_000, 64
POOL, DRAWS, OWN, COMMON = 1_500, 140, 40, 45  # features of a leaf, of a label, and those of a document
SPLITS, LEAF, BEAM, K, TURNS = 32, 64, 10, 10, 5
DOCUMENTS, SINGLE = 2_000, 200
RESULTS = Path(__file__).with_name("results")
PLOTTING = (
    "matplotlib==3.10.8 contourpy==1.3.3 cycler==0.12.1 fonttools==4.60.1 kiwisolver==1.4.9 pyparsing==3.2.5 "
    "pillow==12.0.0"
)


class Model(NamedTuple):
    """Synthetic weights on a real tree, and documents.

    Attributes:
        tree: over L labels.
        weights: one a level, float32 CSC (V + 1, places).
        label_PE: float32 (L, E), dense vectors of the labels in the tree's order.
        doc_BV: float32 CSR (B, V), unit rows.
        doc_BE: float32 (B, E).
    """

    tree: LabelTree
    weights: list[sp.csc_matrix]
    label_PE: FloatArray
    doc_BV: sp.csr_matrix
    doc_BE: FloatArray


def measure(data: Path, quick: bool) -> dict[str, Any]:
    sizes = (100, 200) if quick else SIZES
    rows: dict[str, dict[str, dict[str, float]]] = {}
    left_out: dict[str, str] = {}
    for labels in sizes:
        with tempfile.TemporaryDirectory() as folder, Pecos(quick) as pecos:
            left_out |= pecos.left_out
            rows[str(labels)] = measure_size(labels, Path(folder), pecos, 1 if quick else TURNS)
        gc.collect()
        print(f"{labels:,} labels: tree {rows[str(labels)]['tree']}", flush=True)
    weighed = {"debtags": (20, 40)} if quick else TRAINED
    trained = {name: measure_trained(data, name, most) for name, most in weighed.items() if (data / name).is_dir()}
    crossing = crossover(rows)
    print(table(cells(rows), ["labels", "search", "CPU µs a document", "MB", "µs alone, median"]))
    print(f"The tree is cheaper than one matrix from about {crossing or float('nan'):,.0f} labels.")
    for name, found in trained.items():
        print(f"{name}, trained weights: from about {crossover(found) or float('nan'):,.0f} labels.")
    if not quick:
        draw(rows, RESULTS)
    smallest, largest = (rows[str(size)]["tree"]["cpu_us"] for size in (sizes[0], sizes[-1]))
    return {
        "crossover_labels": crossing,
        "crossover_trained": {name: crossover(found) for name, found in trained.items()},
        "rows": rows,
        "left_out": left_out,
        "trained": trained,
        "tree_growth": largest / smallest,
        "label_growth": sizes[-1] / sizes[0],
    }


def measure_size(labels: int, folder: Path, pecos: Pecos, turns: int) -> dict[str, dict[str, float]]:
    """All searches over one number of labels; the figures of each."""
    model = synthesise(labels, seed=0)
    nonzeros = sum(level.nnz for level in model.weights) / labels
    write_layout(folder / "tree", model.tree, model.weights)
    figures = {"tree": measure_ours(folder / "tree", model.doc_BV, BEAM, turns) | {"nonzeros_a_label": nonzeros}}
    if labels <= FLAT_AT_MOST:
        tree = LabelTree.flat(model.tree.label_P)
        write_layout(folder / "flat", tree, [open_level(FEATURES, tree.width[0], SURE), model.weights[-1]])
        figures["flat"] = measure_ours(folder / "flat", model.doc_BV, 0, turns)
    figures |= {f"faiss {kind}": found for kind, found in measure_faiss(model, turns).items()}
    write_pecos(folder / "pecos", model.tree, model.weights)
    sp.save_npz(folder / "documents.npz", model.doc_BV)
    figures["one matrix, SciPy"] = measure_matrix(model, turns)
    found = BeamSearch(open_layout(folder / "tree"), beam=BEAM).search(model.doc_BV, K)
    found = Scores(model.tree.place_L(labels)[found.label_BK], found.score_BK)  # PECOS's labels are places
    del model
    gc.collect()
    return figures | time_pecos(pecos, folder, found, SINGLE, turns)


def synthesise(labels: int, seed: int) -> Model:
    """A model of that many labels.

    A leaf's labels draw their features from a pool of the leaf's own, frequent features more often. A node above
    weighs what those below it weigh on average, scaled so that a document's way to its label is likely.
    """
    rng = np.random.default_rng(seed)
    label_LE = mixture(labels, rng)
    tree = grow_tree(label_LE, SPLITS, LEAF, seed)
    leaves = [draw_leaf(stop - start, rng) for start, stop in pairwise(tree.offsets[-1])]
    columns = [sp.csc_matrix(leaf) for leaf in leaves]
    weights = [sp.csc_matrix(sp.hstack(columns, format="csc", dtype=np.float32))]
    del leaves, columns
    place_B = rng.integers(labels, size=DOCUMENTS)
    doc_BV = draw_documents(weights[0], place_B, rng)
    for level in range(tree.depth - 1, 0, -1):
        parent_P = tree.parents(level)
        count = np.bincount(parent_P).astype(np.float32)
        up = sp.csr_matrix((1 / count[parent_P], (np.arange(len(parent_P)), parent_P)))
        weights.insert(0, sp.csc_matrix(weights[0] @ up.astype(np.float32)))
    above_B = place_B
    for level in range(tree.depth - 1, -1, -1):
        weights[level] = finish_level(weights[level], doc_BV, above_B)
        above_B = tree.parents(level)[above_B]
    label_PE = label_LE[tree.label_P]
    doc_BE = unit(label_PE[place_B] + rng.normal(0, 0.1, (DOCUMENTS, WIDTH)))
    return Model(tree, weights, label_PE, doc_BV, doc_BE)


def mixture(labels: int, rng: np.random.Generator) -> FloatArray:
    """Unit rows float32 (L, E) around centres that are themselves around centres."""
    centre = rng.normal(size=(max(labels // 1000, 4), WIDTH)).astype(np.float32)
    near = centre[rng.integers(len(centre), size=max(labels // 30, 8))]
    near = near + 0.7 * rng.normal(size=near.shape).astype(np.float32)
    label_LE = near[rng.integers(len(near), size=labels)]
    return unit(label_LE + 0.5 * rng.standard_normal(label_LE.shape, np.float32))


def unit(rows: np.ndarray) -> FloatArray:
    """Rows at unit length."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def draw_features(count: int, rng: np.random.Generator) -> np.ndarray:
    """Features by Zipf's law; those of small numbers are frequent."""
    return (np.exp(rng.random(count) * np.log(FEATURES / 30 + 1)) * 30 - 30).astype(np.int64)


def draw_leaf(children: int, rng: np.random.Generator) -> sp.csc_matrix:
    """Weights of siblings, float32 CSC (V + 1, children)."""
    pool = np.unique(draw_features(POOL, rng))
    drawn = np.sort((len(pool) * rng.random((children, DRAWS)) ** 1.5).astype(np.int64), axis=1)
    fresh = np.ones(drawn.shape, bool)
    fresh[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    start = np.cumsum([0, *fresh.sum(axis=1)])
    value = 0.1 + rng.exponential(0.4, start[-1])
    value[rng.random(start[-1]) < 0.4] *= -0.5
    return sp.csc_matrix((value.astype(np.float32), pool[drawn[fresh]], start), shape=(FEATURES + 1, children))


def draw_documents(weight: sp.csc_matrix, place_B: np.ndarray, rng: np.random.Generator) -> sp.csr_matrix:
    """Documents of labels: features that speak for the label, and frequent ones, float32 CSR (B, V)."""
    feature, start = [], [0]
    for place in place_B.tolist():
        entries = slice(weight.indptr[place], weight.indptr[place + 1])
        own = weight.indices[entries][weight.data[entries] > 0]
        found = np.union1d(rng.permutation(own)[:OWN], draw_features(COMMON, rng))
        feature.append(found)
        start.append(start[-1] + len(found))
    index = np.concatenate(feature)
    value = rng.lognormal(0, 0.4, len(index)) * (1 + np.log1p(index) / 4)
    doc_BV = sp.csr_matrix((value.astype(np.float32), index.astype(np.int32), start), (len(place_B), FEATURES))
    length_B = np.sqrt(np.add.reduceat(doc_BV.data**2, doc_BV.indptr[:-1]))
    doc_BV.data /= np.repeat(length_B, np.diff(doc_BV.indptr))
    return doc_BV


def finish_level(weight: sp.csc_matrix, doc_BV: sp.csr_matrix, place_B: np.ndarray) -> sp.csc_matrix:
    """The level scaled so that a document's own node has a margin of about 1, small weights left out, biases -1."""
    own_BV = sp.csr_matrix(weight[:-1, place_B].T)
    middle = float(np.median(np.asarray(own_BV.multiply(doc_BV).sum(axis=1))))
    weight.data *= np.float32(2 / middle)
    weight.data[np.abs(weight.data) < 0.05] = 0
    weight.eliminate_zeros()
    places = len(weight.indptr) - 1
    bias = (np.full(places, -1, np.float32), (np.full(places, FEATURES), np.arange(places)))
    return sp.csc_matrix(weight + sp.csc_matrix(bias, shape=(FEATURES + 1, places), dtype=np.float32))


def measure_ours(folder: Path, doc_BV: sp.csr_matrix, beam: int, turns: int) -> dict[str, float]:
    """One of our layouts."""
    search = BeamSearch(open_layout(folder), beam=beam)
    warm(search.layout)
    rows = [doc_BV[[row]] for row in range(min(SINGLE, len(doc_BV.indptr) - 1))]
    return {
        "cpu_us": cpu_us(lambda: search.search(doc_BV, K, threads=1), len(doc_BV.indptr) - 1, turns),
        "single_us": single_us(
            lambda row: search.search_one(rows[row].indices, rows[row].data, K), turns, len(rows)
        ),
        "megabytes": sum(path.stat().st_size for path in folder.iterdir()) / 1e6,
    }


def measure_matrix(model: Model, turns: int) -> dict[str, float]:
    """All labels' weights in one sparse matrix, as one would do it with SciPy and NumPy."""
    weight_VL = sp.csr_matrix(model.weights[-1])
    bias_L, weight_VL = weight_VL[-1].toarray().ravel(), weight_VL[:-1]
    block = max(1, min(256, 50_000_000 // len(bias_L)))
    documents = min(DOCUMENTS, max(100, 200_000_000 // len(bias_L)))

    def search(rows: slice) -> None:
        top_k((model.doc_BV[rows] @ weight_VL).toarray() + bias_L, K)

    def search_all() -> None:
        for start in range(0, documents, block):
            search(slice(start, min(start + block, documents)))

    return {
        "cpu_us": cpu_us(search_all, documents, min(turns, 3)),
        "single_us": single_us(lambda row: search(slice(row, row + 1)), 1),
        "megabytes": (weight_VL.data.nbytes + weight_VL.indices.nbytes + weight_VL.indptr.nbytes) / 1e6,
    }


def measure_faiss(model: Model, turns: int) -> dict[str, dict[str, float]]:
    """Graphs and cells of faiss over dense vectors of the labels, one thread."""
    faiss, labels = import_faiss(), len(model.label_PE)
    faiss.omp_set_num_threads(1)
    figures = {}
    for kind in ("HNSW", "IVF"):
        if kind == "HNSW" and labels > HNSW_AT_MOST:
            continue
        started = time.process_time()
        if kind == "HNSW":
            index = faiss.IndexHNSWFlat(WIDTH, 16, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction, index.hnsw.efSearch = 40, 64
        else:
            cells_L = max(1, min(round(labels**0.5), 1024))
            index = faiss.index_factory(WIDTH, f"IVF{cells_L},Flat", faiss.METRIC_INNER_PRODUCT)
            index.nprobe = 8
            index.train(model.label_PE[: 100 * cells_L])
        index.add(model.label_PE)
        build_s = time.process_time() - started
        search: Callable[[FloatArray], Any] = lambda rows, index=index: index.search(rows, K)  # noqa: E731
        figures[kind] = {
            "cpu_us": cpu_us(lambda: search(model.doc_BE), DOCUMENTS, turns),  # noqa: B023 - called at once
            "single_us": single_us(lambda row: search(model.doc_BE[row : row + 1]), turns),  # noqa: B023
            "megabytes": len(faiss.serialize_index(index)) / 1e6,
            "build_cpu_s": build_s,
        }
    return figures


def measure_trained(data: Path, name: str, sizes: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    """The tree and one matrix with trained weights, over a data set's most frequent labels."""
    source, found = source_of(data, name), {}
    labels = read_labels(Store(), source.labels)
    texts, gold = read_split(source, labels, "train")
    weigh = TfIdf.fit(texts, max_terms=FEATURES)
    doc_NV, test_BV = weigh.transform(texts), weigh.transform(read_split(source, labels, "test")[0])
    count_L = np.asarray(gold.sum(axis=0)).ravel()
    for size in sizes:
        label_P = np.sort(np.argsort(-count_L, kind="stable")[:size]).astype(np.int32)
        rows = np.flatnonzero(np.diff(sp.csr_matrix(gold[:, label_P]).indptr))
        few_NV, few = sp.csr_matrix(doc_NV[rows]), sp.csr_matrix(gold[rows])
        trees = {"tree": grow_tree(pifa(few_NV, few), 16, LEAF, 0, label_P), "flat": LabelTree.flat(label_P)}
        with tempfile.TemporaryDirectory() as folder:
            for kind, tree in trees.items():
                write_layout(Path(folder) / kind, tree, train_weights(tree, few_NV, few, kind == "flat"))
            found[str(size)] = {
                kind: measure_ours(Path(folder) / kind, test_BV, 0 if kind == "flat" else BEAM, TURNS)
                for kind in trees
            }
    return found


def cpu_us(run: Callable[[], object], documents: int, turns: int) -> float:
    """CPU microseconds a document, the median over turns, after one that is not counted."""
    seconds = []
    for _ in range(turns + 1):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return 1e6 * float(np.median(seconds[1:])) / documents


def single_us(run: Callable[[int], object], turns: int, documents: int = SINGLE) -> float:
    """Median microseconds of one document."""
    seconds = []
    for row in list(range(documents)) * turns:
        started = time.perf_counter()
        run(row)
        seconds.append(time.perf_counter() - started)
    return 1e6 * float(np.median(seconds))


def crossover(rows: dict[str, dict[str, dict[str, float]]]) -> float | None:
    """The number of labels from which the tree costs less than one matrix, between two sizes that were measured."""
    return crossing(
        {size: found["flat"]["cpu_us"] / found["tree"]["cpu_us"] for size, found in rows.items() if "flat" in found}
    )


def crossing(ratios: dict[str, float]) -> float | None:
    """Where a ratio that grows with the number of labels is 1, between two that were measured; None if nowhere."""
    for (low, before), (high, after) in pairwise((int(size), ratio) for size, ratio in ratios.items()):
        if before <= 1 < after:
            part = np.log(1 / before) / np.log(after / before)
            return float(np.exp(np.log(low) + part * np.log(high / low)))
    return None


def cells(rows: dict[str, dict[str, dict[str, float]]]) -> list[list[object]]:
    return [
        [
            f"{int(size):,}",
            search,
            f"{found['cpu_us']:.1f}",
            f"{found['megabytes']:.1f}",
            f"{found['single_us']:.0f}",
        ]
        for size, searches in rows.items()
        for search, found in searches.items()
    ]


def draw(rows: dict[str, dict[str, dict[str, float]]], folder: Path) -> None:
    """`growth.png` and `growth.svg`."""
    bring(*PLOTTING.split())
    import matplotlib  # pyright: ignore[reportMissingImports]

    matplotlib.use("agg")
    from matplotlib import pyplot  # pyright: ignore[reportMissingImports]

    titles = {
        "cpu_us": "CPU time a document, µs",
        "megabytes": "memory, MB",
        "single_us": "one document alone, µs (median)",
    }
    figure, axes = pyplot.subplots(1, len(titles), figsize=(15, 5))
    searches = list(dict.fromkeys(search for found in rows.values() for search in found))
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for search, mark in zip(searches, "osD^v<>P", strict=False):
            points = [(int(size), found[search][key]) for size, found in rows.items() if search in found]
            width = 2.5 if search in ("tree", "flat") else 1.2
            axis.plot(*zip(*points, strict=True), marker=mark, markersize=5, linewidth=width, label=search)
        axis.set(xscale="log", yscale="log", xlabel="labels", title=title)
        axis.grid(visible=True, which="major", alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    for ending in ("png", "svg"):
        figure.savefig(folder / f"growth.{ending}", dpi=110)
