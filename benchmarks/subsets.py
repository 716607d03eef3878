"""Label fusion: branch and bound beside exhaustive search, CPU time against the number of labels to fuse.

`labels` are documents about one corner of debtags' seen labels, scored against its unseen ones, MiniLM embeddings;
`random` are random directions. The others are made to be hard: `apart` are labels that share next to nothing, all
equally probable; `parallel` are all but the same; in `tied` the n first labels are a best subset for every n, so
that a bound prunes little. `plain` is the paper's algorithm in matrix products, `exhaustive` our own enumeration of
all subsets, `tree` branch and bound alone, `fuse` the whole of what is delivered: embeddings to scores, and
enumeration where the labels are few.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from raytagger.corpus import read_labels
from raytagger.encoders import load_encoder
from raytagger.schema import FloatArray, Scores
from raytagger.search.fusion import Fusion, FusionOptions, fuse
from raytagger.search.fusion_kernels import DoubleArray, Found, enumerate_subsets, search_branches
from raytagger.settings import EncoderSettings
from raytagger.store import Store
from raytagger.tables import percent, table

DATA = "debtags"
PLACES = (4, 6, 8, 10, 12, 14, 16, 18, 20, 25, 30)
MOST_PLAIN, MOST_ENUMERATED = 14, 20
DOCUMENTS, UNSEEN, WIDTH = 100, 64, 384
BUDGET = FusionOptions().node_budget
NO_BUDGET = 10**8
TIMES = ("plain_us", "exhaustive_us", "tree_us", "fuse_us")


class Case(NamedTuple):
    """Documents of n labels each: their shortlists, and the embeddings that they are about."""

    shortlist: Scores
    seen_LE: FloatArray
    unseen_UE: FloatArray


def measure(data: Path, quick: bool) -> dict[str, Any]:
    seen_LE, unseen_UE = embed_labels(data)
    families: dict[str, Callable[[np.random.Generator, int, int], Case]] = {
        "labels": lambda rng, places, documents: near_labels(rng, places, documents, seen_LE, unseen_UE),
        "random": random,
        "apart": apart,
        "parallel": parallel,
        "tied": tied,
    }
    rows = []
    with threadpool_limits(1):
        for family, make in families.items():
            for places in PLACES[::3] if quick else PLACES:
                documents = 1 if family == "tied" else DOCUMENTS // (10 if quick or places > 20 else 1)
                rows.append({"inputs": family, "n": places, **compare(make(generator(places), places, documents))})
        hardest = prove(tied(generator(0), 20 if quick else PLACES[-1], 1))
    show(rows)
    print(
        f"tied, {hardest['n']} labels, no budget: {hardest['nodes']:,} nodes, {hardest['cpu_s']:.3f} CPU s a pair"
    )
    equal = all(row["equal"] for row in rows if "equal" in row)
    ratio = {str(row["n"]): row["ratio"] for row in rows if row["inputs"] == "labels" and "ratio" in row}
    return {"ratio": ratio, "equal": equal, "rows": rows, "hardest": hardest}


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def embed_labels(data: Path) -> tuple[FloatArray, FloatArray]:
    """Unit embeddings of debtags' seen and unseen labels."""
    labels = read_labels(Store(), str(data / DATA / "labels.parquet"))
    label_LE = load_encoder(EncoderSettings(max_tokens=64), Store()).encode(labels.full_texts).vector_BD
    seen_L = np.array(labels.seen, bool)
    return label_LE[seen_L], label_LE[~seen_L]


def near_labels(
    rng: np.random.Generator, places: int, documents: int, seen_LE: FloatArray, unseen_UE: FloatArray
) -> Case:
    """Documents that a classifier gives labels near to each other, with some noise."""
    centre_N = rng.integers(len(seen_LE), size=documents)
    likeness_NL = seen_LE[centre_N] @ seen_LE.T + rng.normal(0, 0.15, (documents, len(seen_LE)))
    label_NK = np.argsort(-likeness_NL, axis=1)[:, :places]
    return Case(shortlist(label_NK, decaying(rng, documents, places)), seen_LE, unseen_UE)


def random(rng: np.random.Generator, places: int, documents: int) -> Case:
    return made(rng.normal(size=(documents * places, WIDTH)), rng.normal(size=(UNSEEN, WIDTH)), rng, places)


def apart(rng: np.random.Generator, places: int, documents: int) -> Case:
    shape = (documents * places, WIDTH)
    seen_LE = np.abs(rng.normal(size=shape)) * (rng.random(shape) < 0.05)
    case = made(seen_LE, np.abs(rng.normal(size=(UNSEEN, WIDTH))), rng, places)
    return case._replace(shortlist=shortlist(case.shortlist.label_BK, np.full((documents, places), 0.5)))


def parallel(rng: np.random.Generator, places: int, documents: int) -> Case:
    centre_E = rng.normal(size=WIDTH)
    seen_LE = centre_E + 0.1 * rng.normal(size=(documents * places, WIDTH))
    return made(seen_LE, centre_E + 0.5 * rng.normal(size=(UNSEEN, WIDTH)), rng, places)


def tied(rng: np.random.Generator, places: int, documents: int) -> Case:
    """Orthogonal labels, equally probable; the sum of the n first has the same cosine for every n."""
    dot_K = np.sqrt(np.arange(1, places + 1)) - np.sqrt(np.arange(places))
    rest = 2 * np.sqrt(places)
    unseen_UE = np.concatenate([dot_K, [rest]])[None]
    label_NK = np.tile(np.arange(places), (documents, 1))
    return Case(
        shortlist(label_NK, np.full(label_NK.shape, 0.5)), unit(np.eye(places, places + 1)), unit(unseen_UE)
    )


def made(seen_LE: np.ndarray, unseen_UE: np.ndarray, rng: np.random.Generator, places: int) -> Case:
    """Every document has labels of its own."""
    label_NK = np.arange(len(seen_LE)).reshape(-1, places)
    probability_NK = decaying(rng, *label_NK.shape)
    return Case(shortlist(label_NK, probability_NK), unit(seen_LE), unit(unseen_UE))


def decaying(rng: np.random.Generator, documents: int, places: int) -> np.ndarray:
    """Probabilities over 0.1, the higher the rarer."""
    return -np.sort(-(0.1 + 0.9 * rng.beta(1, 2, (documents, places))), axis=1)


def shortlist(label_NK: np.ndarray, probability_NK: np.ndarray) -> Scores:
    return Scores(label_NK.astype(np.int32), probability_NK.astype(np.float32))


def unit(rows: np.ndarray) -> FloatArray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def compare(case: Case) -> dict[str, Any]:
    """Microseconds a document and unseen label of each search, and whether they agree."""
    documents, places = case.shortlist.label_BK.shape
    options = FusionOptions(0.0, places)
    inputs = [products(case, document) for document in range(documents)]
    figures: dict[str, Any] = {}
    tree, tree_us = timed(lambda: searched(inputs, branch))
    figures["fuse_us"] = timed(lambda: fuse(*case, options))[1] / tree.score_BU.size
    figures["tree_us"] = tree_us / tree.score_BU.size
    figures["nodes"] = tree.nodes / tree.score_BU.size
    figures["proven"] = float(tree.proven_BU.mean())
    if places <= MOST_ENUMERATED:
        few = inputs[: max(1, min(documents, 2**20 >> places))]
        exhaustive, exhaustive_us = timed(lambda: searched(few, enumerate_subsets))
        figures["exhaustive_us"] = exhaustive_us / exhaustive.score_BU.size
        figures["ratio"] = figures["exhaustive_us"] / figures["tree_us"]
        figures |= agreement(tree, exhaustive)
        if places <= MOST_PLAIN:
            best, plain_us = timed(lambda: [plain(case, document) for document in range(len(few))])
            figures["plain_us"] = plain_us / exhaustive.score_BU.size
            assert np.allclose(best, exhaustive.score_BU, atol=1e-5)
    return figures


def products(case: Case, document: int) -> tuple[np.ndarray, np.ndarray]:
    """What the searches work on: inner products of a document's weighted labels, with each other and all unseen."""
    part_KE = weighted(case, document)
    return part_KE @ part_KE.T, np.ascontiguousarray(case.unseen_UE.astype(np.float64) @ part_KE.T)


def weighted(case: Case, document: int) -> np.ndarray:
    label_K, probability_K = case.shortlist.label_BK[document], case.shortlist.score_BK[document]
    return case.seen_LE[label_K].astype(np.float64) * probability_K[:, None]


def searched(inputs: list[tuple[np.ndarray, np.ndarray]], search: Callable[..., int]) -> Fusion:
    shape = (len(inputs), len(inputs[0][1]))
    found = Found(np.zeros(shape, np.float32), np.zeros(shape, np.int64), np.zeros(shape, bool))
    nodes = sum(search(*given, Found(*(part[row] for part in found))) for row, given in enumerate(inputs))
    return Fusion(*found, nodes)


def branch(gram_KK: DoubleArray, dot_UK: DoubleArray, found: Found, budget: int = BUDGET) -> int:
    return search_branches(gram_KK, dot_UK, budget, found)


def plain(case: Case, document: int) -> np.ndarray:
    """Algorithm 1 as it is written, in matrix products."""
    part_KE = weighted(case, document).astype(np.float32)
    subset_SK = np.array(list(product((0, 1), repeat=len(part_KE)))[1:], np.float32)
    sum_SE = subset_SK @ part_KE
    sum_SE /= np.linalg.norm(sum_SE, axis=1, keepdims=True)
    return (sum_SE @ case.unseen_UE.T).max(axis=0)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it answers the second time, and the CPU microseconds of that."""
    work()
    started = time.process_time()
    answer = work()
    return answer, 1e6 * (time.process_time() - started)


def agreement(tree: Fusion, exhaustive: Fusion) -> dict[str, Any]:
    """Whether all scores are the same, and the share of subsets that are; the others are ties."""
    rows = len(exhaustive.score_BU)
    same = np.allclose(tree.score_BU[:rows], exhaustive.score_BU, rtol=0, atol=1e-6)
    return {"equal": bool(same), "same_subset": float((tree.chosen_BU[:rows] == exhaustive.chosen_BU).mean())}


def prove(case: Case) -> dict[str, Any]:
    """What it takes to prove the first pair without a budget."""
    gram_KK, dot_UK = products(case, 0)
    found, cpu_us = timed(lambda: searched([(gram_KK, dot_UK[:1])], partial(branch, budget=NO_BUDGET)))
    return {
        "n": len(gram_KK),
        "nodes": found.nodes,
        "cpu_s": cpu_us / 1e6,
        "proven": bool(found.proven_BU.all()),
    }


def show(rows: list[dict[str, Any]]) -> None:
    cells = []
    for row in rows:
        times = [f"{row[key]:,.2f}" if key in row else "-" for key in TIMES]
        ratio = f"{row['ratio']:,.1f}" if "ratio" in row else "-"
        same = percent(row.get("same_subset"))
        equal = ("yes" if row["equal"] else "NO") if "equal" in row else "-"
        facts = [f"{row['nodes']:,.1f}", percent(row["proven"]), equal, same]
        cells.append([row["inputs"], row["n"], *times, ratio, *facts])
    times = [key.removesuffix("_us") for key in TIMES]
    print("µs of CPU a document and unseen label; ratio: exhaustive over tree")
    print(table(cells, ["inputs", "n", *times, "ratio", "nodes", "proven %", "equal", "same subset %"]))
