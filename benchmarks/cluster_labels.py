"""Label trees of a million labels: peak memory and CPU seconds; how alike siblings are, beside PECOS's own trees.

Each tree is grown in a process of its own, whose peak memory holds the embedding too, and how it was made. `cosine`
is the mean cosine of a label to the centre of its last node, the aim of spherical k-means; PECOS clusters the same
matrix into the same number of last nodes.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.pecos_client import PASSIVE, pecos_python
from benchmarks.peers import LeftOut
from raytagger.labels.embeddings import Embedding, unit_rows
from raytagger.labels.grow import grow_tree
from raytagger.tables import table

SPLITS, LEAF = 16, 64
LIMIT_GB = 4.0


def measure(data: Path, quick: bool) -> dict[str, Any]:
    shrink = 200 if quick else 1
    sizes = {"dense": (1_000_000 // shrink, 100), "sparse": (200_000 // shrink, 100_000 // shrink)}
    figures = {form: grow_apart(form, labels, width) for form, (labels, width) in sizes.items()}
    try:
        python, left_out = pecos_python(quick), {}
        figures |= {f"{form}, beside PECOS": beside_pecos(form, 16_384 // shrink, python) for form in sizes}
    except LeftOut as why:
        left_out = {"PECOS": str(why)}
    cells = [
        [
            row,
            *(
                found.get(key, "-")
                for key in ("labels", "cpu_s", "peak_gb", "cosine", "pecos_cpu_s", "pecos_cosine")
            ),
        ]
        for row, found in figures.items()
    ]
    print(table(cells, ["embedding", "labels", "CPU s", "peak GB", "cosine", "PECOS CPU s", "PECOS cosine"]))
    peaks = [found["peak_gb"] for found in figures.values() if "peak_gb" in found]
    return {"rows": figures, "left_out": left_out, "peak_gb": max(peaks), "within_limit": max(peaks) < LIMIT_GB}


def grow_apart(form: str, labels: int, width: int) -> dict[str, Any]:
    """The figures of one tree from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.cluster_labels", form, str(labels), str(width)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def grow(form: str, labels: int, width: int) -> dict[str, Any]:
    """Grows a tree in this process and weighs it."""
    embedding = mixture(form, labels, width)
    made_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = time.process_time()
    tree = grow_tree(embedding, SPLITS, LEAF, 0)
    seconds = time.process_time() - started
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {
        "labels": labels,
        "width": tree.width,
        "cpu_s": round(seconds, 1),
        "peak_gb": round(peak_gb, 2),
        "made_gb": round(made_gb, 2),
        "cosine": round(cosine(embedding, tree.label_P, tree.offsets[-1]), 4),
    }


def mixture(form: str, labels: int, width: int) -> Embedding:
    """Labels around centres that themselves stand around others, or labels that share a theme's features."""
    rng = np.random.default_rng(0)
    if form == "dense":
        upper = rng.normal(size=(100, width)).astype(np.float32)
        centre = upper[rng.integers(100, size=labels // 50)]
        centre += rng.normal(scale=0.7, size=centre.shape).astype(np.float32)
        embedding = rng.standard_normal((labels, width), np.float32)
        embedding *= np.float32(0.7)
        for start in range(0, labels, 10_000):
            part = embedding[start : start + 10_000]
            part += centre[rng.integers(len(centre), size=len(part))]
        return embedding
    # As PIFA of TF-IDF: 100 features a label, half by its theme, half by Zipf's law.
    features, themes = 100, labels // 50
    theme = rng.integers(width, size=(themes, features)).astype(np.int32)
    drawn = np.minimum(rng.zipf(1.3, size=(labels, features)) - 1, width - 1).astype(np.int32)
    of_theme = theme[rng.integers(themes, size=labels)]
    index = np.where(rng.random((labels, features), np.float32) < 0.5, of_theme, drawn)
    value = rng.random(index.size, np.float32)
    matrix = sp.csr_matrix((value, index.ravel(), np.arange(labels + 1) * features), shape=(labels, width))
    matrix.sum_duplicates()
    return matrix


def cosine(embedding: Embedding, label_P: np.ndarray, offset: np.ndarray) -> float:
    """The mean cosine of labels to the centre of those that they stand with."""
    spans = pairwise(offset.tolist())
    return float(
        sum(np.linalg.norm(unit_rows(embedding[label_P[start:stop]]).sum(axis=0)) for start, stop in spans)
        / len(label_P)
    )


def beside_pecos(form: str, labels: int, python: Path) -> dict[str, Any]:
    """Our tree and PECOS's over the same labels, with the same seed."""
    ours = grow(form, labels, 100 if form == "dense" else 20_000)
    embedding = mixture(form, labels, 100 if form == "dense" else 20_000)
    with tempfile.TemporaryDirectory() as folder:
        sp.save_npz(f"{folder}/embedding.npz", sp.csr_matrix(embedding), compressed=False)
        command = [str(python), "-c", PECOS, folder, str(SPLITS), str(LEAF)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **PASSIVE})
        node_L = np.load(f"{folder}/node.npy")
    label_P = np.argsort(node_L, kind="stable")
    offset = np.append(0, np.cumsum(np.bincount(node_L)))
    found = {"pecos_cpu_s": float(ran.stdout), "pecos_cosine": round(cosine(embedding, label_P, offset), 4)}
    return {**{key: ours[key] for key in ("labels", "width", "cpu_s", "cosine")}, **found}


PECOS = """
import sys, time
import numpy as np, scipy.sparse as sp
from pecos.xmc import Indexer
folder, splits, leaf = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
embedding = sp.load_npz(folder + "/embedding.npz").astype(np.float32)
norm = np.sqrt(embedding.multiply(embedding).sum(1))
embedding = sp.csr_matrix(embedding.multiply(1 / norm), dtype=np.float32)
started = time.process_time()
chain = Indexer.gen(embedding, indexer_type="hierarchicalkmeans", nr_splits=splits, max_leaf_size=leaf, threads=1)
print(round(time.process_time() - started, 2))
np.save(folder + "/node.npy", chain[-1].tocsr().indices)
"""


if __name__ == "__main__":
    print(json.dumps(grow(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
