"""PECOS's side of `ranker`, in a process of PECOS's own environment: grows the tree, trains its levels when asked.

Started by path, since nothing of ours is there. Reads a line of JSON that names the folder of documents and gold
labels, and writes the tree's matrices into it. Then a line names a level, which is trained: the answer is its CPU
seconds.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp


def main() -> None:
    folder = Path(json.loads(sys.stdin.readline())["folder"])
    problems = grow(folder)
    print(len(problems), flush=True)
    for line in sys.stdin:
        print(train(problems, int(line), folder), flush=True)


def grow(folder: Path) -> list[Any]:
    """PECOS's tree with its usual settings, and what each level is trained on: teacher forcing."""
    from pecos.xmc import Indexer, LabelEmbeddingFactory  # pyright: ignore[reportMissingImports] - a rival's
    from pecos.xmc.base import MLProblem  # pyright: ignore[reportMissingImports]

    doc_NV = sp.load_npz(folder / "train.npz").tocsr().astype(np.float32)
    gold = sp.load_npz(folder / "train_gold.npz").tocsr().astype(np.float32)
    label_LV = LabelEmbeddingFactory.create(gold, doc_NV, method="pifa", threads=1)
    chain = Indexer.gen(label_LV, indexer_type="hierarchicalkmeans", nr_splits=16, max_leaf_size=100, threads=1)
    levels = [gold.tocsc()]
    for cluster in list(chain)[:0:-1]:
        levels.insert(0, (levels[0] @ cluster).tocsc())
        levels[0].data[:] = 1
    problems = []
    for level, cluster in enumerate(chain):
        sp.save_npz(folder / f"chain{level}.npz", sp.csc_matrix(cluster))
        active = levels[level - 1] if level else None
        problems.append(MLProblem(doc_NV, levels[level], C=sp.csc_matrix(cluster), M=active, threads=1))
    return problems


def train(problems: list[Any], level: int, folder: Path) -> float:
    """CPU seconds of PECOS's solver alone; its weights go into a file."""
    from pecos.xmc.base import MLModel  # pyright: ignore[reportMissingImports]

    started = time.process_time()
    model = MLModel.train(problems[level], threshold=0.1, eps=0.1, bias=1.0, max_iter=100, threads=1)
    taken = time.process_time() - started
    sp.save_npz(folder / f"weight{level}.npz", model.W)
    return taken


if __name__ == "__main__":
    main()
