"""PECOS in a process of its own environment that trains and predicts when asked (`pecos_client.py`).

It talks in lines of JSON about files of arrays.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

LAYERS = ("BINARY_SEARCH_CHUNKED", "HASH_CHUNKED")


def train(
    documents: str, gold: str, model: str, splits: int, seed: int = 0, cost: float = 1.0, negatives: str = "tfn"
) -> dict[str, Any]:
    """Trains XR-Linear on `documents` (N, V) and `gold` (N, L), both `.npz`, into the folder `model`."""
    from pecos.xmc import Indexer, LabelEmbeddingFactory  # pyright: ignore[reportMissingImports]
    from pecos.xmc.xlinear.model import XLinearModel  # pyright: ignore[reportMissingImports]

    doc_NV = sp.load_npz(documents).tocsr().astype(np.float32)
    gold_NL = sp.load_npz(gold).tocsr().astype(np.float32)
    started = time.process_time()
    label_LV = LabelEmbeddingFactory.create(gold_NL, doc_NV, method="pifa")
    chain = Indexer.gen(
        label_LV, indexer_type="hierarchicalkmeans", nr_splits=splits, max_leaf_size=100, seed=seed, threads=1
    )
    trained = XLinearModel.train(
        doc_NV,
        gold_NL,
        C=chain,
        threshold=0.1,
        bias=1.0,
        negative_sampling_scheme=negatives,
        Cp=cost,
        Cn=cost,
        threads=1,
        pred_kwargs={"beam_size": 10, "only_topk": 10, "post_processor": "l3-hinge"},
    )
    trained.save(model)
    return {"cpu_s": time.process_time() - started}


class Predictor:
    """Models and documents that are open."""

    def __init__(self) -> None:
        self.models: dict[str, Any] = {}
        self.doc_BV: Any = None

    def open(self, documents: str, model: str) -> dict[str, Any]:
        """Opens a model in both layer types, and documents: `.npz` (sparse)."""
        from pecos.xmc.xlinear.model import XLinearModel  # pyright: ignore[reportMissingImports]

        self.doc_BV = sp.load_npz(documents).tocsr().astype(np.float32)
        self.doc_BV.sort_indices()
        self.models = {
            kind: XLinearModel.load(model, is_predict_only=True, weight_matrix_type=kind) for kind in LAYERS
        }
        return {}

    def predict(
        self,
        layers: str,
        beam: int = 10,
        k: int = 10,
        post_processor: str = "l3-hinge",
        output: str = "",
        threads: int = 1,
    ) -> dict[str, Any]:
        """All documents at once; CPU and wall seconds, and the labels and scores in `output`."""
        options: dict[str, Any] = {"beam_size": beam, "only_topk": k, "post_processor": post_processor}
        wall, cpu = time.perf_counter(), time.process_time()
        found = self.models[layers].predict(self.doc_BV, threads=threads, **options)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if output:
            sp.save_npz(output, found)
        return {"cpu_s": cpu, "wall_s": wall}

    def single(self, layers: str, beam: int, k: int, documents: int) -> dict[str, Any]:
        """One document a call; the seconds of each."""
        rows = [self.doc_BV[row] for row in range(documents)]
        predict = self.models[layers].predict
        seconds = []
        for row in rows:
            started = time.perf_counter()
            predict(row, beam_size=beam, only_topk=k, post_processor="l3-hinge", threads=1)
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}


def serve() -> None:
    """Answers one line with one line until standard input ends."""
    predictor = Predictor()
    functions: dict[str, Callable[..., dict[str, Any]]] = {
        "train": train,
        "open": predictor.open,
        "predict": predictor.predict,
        "single": predictor.single,
    }
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(functions[task.pop("do")](**task)), flush=True)


if __name__ == "__main__":
    serve()
