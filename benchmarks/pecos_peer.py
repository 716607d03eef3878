"""PECOS in an environment of its own, and a process of that environment that trains and predicts when asked.

This file is run by both interpreters: ours imports it, PECOS's runs it. It therefore imports at the top only what
both have, and talks in lines of JSON about files of arrays.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

# Without what it names beside these: no torch, no transformers; XR-Linear and its TF-IDF need neither.
ITSELF = ("libpecos==1.2.8",)
BESIDE = ("numpy<2", "scipy<1.14", "scikit-learn<1.6")
LAYERS = ("BINARY_SEARCH_CHUNKED", "HASH_CHUNKED")  # its default, and the other one worth trying


def pecos_python() -> Path:
    """The interpreter of an environment that has libpecos, made on first use; several processes may ask at once."""
    from raytagger.encoders.locate import cache_folder

    folder = cache_folder() / "peers" / f"pecos-{sys.version_info.major}.{sys.version_info.minor}"
    folder.mkdir(parents=True, exist_ok=True)
    python, ready = folder / "bin" / "python", folder / "ready"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install = [str(python), "-m", "pip", "install", "--quiet"]
            subprocess.run([*install, "--no-deps", *ITSELF], check=True)
            subprocess.run([*install, *BESIDE], check=True)
            ready.touch()
    return python


def pecos_environment() -> dict[str, str]:
    """Variables for a process that runs PECOS: its threads sleep while they wait, or they burn CPU time."""
    return {**os.environ, "OMP_WAIT_POLICY": "passive"}


class Pecos:
    """A process of PECOS that does one thing at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(pecos_python()), __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=pecos_environment(),
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Has one of the functions below done, and gives its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of PECOS ended while it was to {do}")
        return json.loads(line)

    def __enter__(self) -> "Pecos":
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


# What follows runs in PECOS's process.


def train(documents: str, gold: str, model: str, splits: int, seed: int = 0) -> dict[str, Any]:
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
        negative_sampling_scheme="tfn",
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
