"""Omikuji and napkinXC in an environment of their own, and a process of it that trains and predicts when asked.

This file is run by both interpreters, as `pecos_peer` is: it imports at the top only what both have, and talks in
lines of JSON about files of arrays.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

NEEDS = ("numpy<2", "scipy", "scikit-learn", "cffi")
DEPTH = 100  # labels that each answers
RIVALS = ("omikuji==0.5.2", "napkinxc==0.7.2")  # without what they name beside these


def ask(what: str, paths: dict[str, Path], seed: int, settings: dict[str, Any], quick: bool) -> dict[str, Any]:
    """Has a rival train and predict in a process of its own.

    Args:
        what: one of `RIVAL_NAMES`.
        paths: `.npz` files: `train` (N, V), `gold` (N, L) and `test` (B, V), float32 CSR, and where scores (B, L)
            go, `found`.
        seed: of napkinXC; Omikuji has none.
        settings: by the rival's own names, beside its defaults.
        quick: nothing is installed.

    Returns:
        `train_cpu_s` and `predict_cpu_s` (one thread).

    Raises:
        LeftOut: it cannot be had.
    """
    from benchmarks.peers import LeftOut, environment

    # napkinXC is compiled, which takes a few minutes; one that does not install says so when it is asked.
    python = environment("linear", [NEEDS], not quick, [("--no-deps", rival) for rival in RIVALS])
    task = {"what": what, "seed": seed, "settings": settings, **{name: str(path) for name, path in paths.items()}}
    done = subprocess.run(
        [str(python), __file__, json.dumps(task)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        check=False,
    )
    if done.returncode:
        raise LeftOut((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def run_pecos(
    pecos: Any, paths: dict[str, Path], model: Path, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """The labels and scores of a `Pecos` in `paths["found"]`, and what they cost."""
    files = {"documents": str(paths["train"]), "gold": str(paths["gold"]), "model": str(model)}
    took = pecos.ask("train", **files, **{"splits": 16, "seed": seed, **settings})
    pecos.open(paths["test"], model)
    cost = pecos.ask("predict", layers="HASH_CHUNKED", beam=10, k=DEPTH, output=str(paths["found"]))
    return {"cpu_s": took["cpu_s"], "predict_cpu_s": cost["cpu_s"]}


def write_pecos(folder: Path, tree: Any, weights: Sequence[Any]) -> None:
    """Writes weights on a `LabelTree` as PECOS's own folder; its labels are the tree's places."""

    def facts(place: Path, kind: str, **more: Any) -> None:
        place.mkdir(parents=True, exist_ok=True)
        (place / "param.json").write_text(json.dumps({"__meta__": {"class_fullname": f"pecos.xmc.{kind}"}, **more}))

    facts(folder, "xlinear.model###XLinearModel")
    features, ranker = weights[0].shape[0] - 1, folder / "ranker"
    size = {"nr_features": features, "nr_codes": len(tree.offsets[-1]) - 1, "nr_labels": tree.width[-1]}
    facts(ranker, "base###HierarchicalMLModel", model="HierarchicalMLModel", depth=tree.depth, **size)
    asked = {"__meta__": {"class_fullname": "pecos.xmc.base###MLModel.PredParams"}}
    asked |= {"only_topk": 10, "post_processor": "l3-hinge"}
    for level, weight in enumerate(weights):
        place, places, above = ranker / f"{level}.model", tree.width[level], len(tree.offsets[level]) - 1
        size = {"nr_labels": places, "nr_features": features, "nr_codes": above}
        facts(place, "base###MLModel", model="MLModel", **size, bias=1.0, pred_kwargs=asked)
        sp.save_npz(place / "W.npz", weight, compressed=False)
        parent = (np.ones(places, np.float32), np.arange(places, dtype=np.int32), tree.offsets[level])
        sp.save_npz(place / "C.npz", sp.csc_matrix(parent, (places, above)), compressed=False)


def time_pecos(pecos: Any, folder: Path, ours: Any, single: int, turns: int) -> dict[str, dict[str, float]]:
    """PECOS over `folder/pecos` and `folder/documents.npz`, in both of its layouts, beam 10, ten labels.

    Its memory is half of what opening both layouts takes. `ours` are our answers, `Scores` over the same places. {}
    where PECOS cannot be had.
    """
    from benchmarks.beam_models import disagreements

    if not pecos.there:
        return {}
    figures, output = {}, folder / "found.npz"
    pecos.open(folder / "documents.npz", folder / "pecos")
    megabytes = resident_mb() / len(pecos.layers)
    for layers in pecos.layers:
        asked = {"layers": layers, "beam": 10, "k": 10}
        seconds = [pecos.ask("predict", **asked, output=str(output))["cpu_s"] for _ in range(turns + 1)][1:]
        alone = pecos.ask("single", **asked, documents=single)["seconds"]
        figures[f"PECOS, {layers}"] = {
            "cpu_us": 1e6 * float(np.median(seconds)) / len(ours),
            "single_us": 1e6 * float(np.median(alone)),
            "megabytes": megabytes,
            "wrong_beside_ours": disagreements(ours, sp.csr_matrix(sp.load_npz(output)))["wrong"],
        }
    return figures


def resident_mb() -> float:
    """Resident megabytes of the largest child of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    pages = [int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in children]
    return max(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


class Family:
    """CPU seconds of this process and of all below it, Ray's among them, while the block runs.

    Workers end before they can be asked, so that every half second the clocks are read.
    """

    def __enter__(self) -> "Family":
        self._before, self._last = read_clocks(), read_clocks()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._last |= read_clocks()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self._last |= read_clocks()

    @property
    def cpu_s(self) -> float:
        """Seconds so far."""
        ticks = sum(count - self._before.get(process, 0) for process, count in self._last.items())
        return ticks / os.sysconf("SC_CLK_TCK")


def read_clocks() -> dict[int, int]:
    """Clock ticks of this process and its descendants, by process id."""
    parent, ticks = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parent[int(entry.name)], ticks[int(entry.name)] = int(words[1]), int(words[11]) + int(words[12])
    mine = {os.getpid()}
    for process in sorted(parent):  # a child's number is nearly always the greater one
        if parent[process] in mine:
            mine.add(process)
    return {process: ticks[process] for process in mine if process in ticks}


# What follows runs in the rivals' process.


def run_omikuji(doc_NV: Any, gold: Any, test: Any, seed: int, settings: dict[str, Any], bonsai: bool) -> Any:
    """Three trees, as is its default. Bonsai: wide, unbalanced, shallow trees, as Annif's documentation sets it."""
    import omikuji  # pyright: ignore[reportMissingImports]

    del seed
    asked = omikuji.Model.default_hyper_param()
    if bonsai:
        asked.cluster_balanced, asked.cluster_k, asked.max_depth = False, 100, 3
    for name, value in settings.items():
        setattr(asked, name, value)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/train.txt"
        write_text(Path(path), doc_NV, gold)
        started = time.process_time()
        model = omikuji.Model.train_on_data(path, asked, 1)
        train_s = time.process_time() - started
    model.init_prediction_thread_pool(1)
    rows = entries(test)
    started = time.process_time()
    found = [model.predict(row, 10, DEPTH) for row in rows]
    return found, train_s, time.process_time() - started


def run_napkinxc(doc_NV: Any, gold: Any, test: Any, seed: int, settings: dict[str, Any]) -> Any:
    """A probabilistic label tree."""
    from napkinxc.models import PLT  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        model = PLT(f"{folder}/model", threads=1, seed=seed + 1, **settings)
        started = time.process_time()
        model.fit(doc_NV, [[label for label, _ in row] for row in entries(gold)])
        train_s = time.process_time() - started
        model.load()
        started = time.process_time()
        found = model.predict_proba(test, top_k=DEPTH)
        return found, train_s, time.process_time() - started


RIVAL_NAMES: dict[str, Callable[..., Any]] = {
    "Omikuji Parabel": lambda *of: run_omikuji(*of, bonsai=False),
    "Omikuji Bonsai": lambda *of: run_omikuji(*of, bonsai=True),
    "napkinXC PLT": run_napkinxc,
}


def write_text(path: Path, doc_NV: Any, gold: Any) -> None:
    """The format of the extreme classification repository."""
    with path.open("w") as file:
        file.write(f"{doc_NV.shape[0]} {doc_NV.shape[1]} {gold.shape[1]}\n")
        for row, labels in zip(entries(doc_NV), entries(gold), strict=True):
            named = ",".join(str(label) for label, _ in labels)
            file.write(f"{named} {' '.join(f'{feature}:{value:.7g}' for feature, value in row)}\n")


def entries(matrix: Any) -> list[list[tuple[int, float]]]:
    """The entries of each row of a CSR matrix."""
    pairs = list(zip(matrix.indices.tolist(), matrix.data.tolist(), strict=True))
    return [pairs[start:stop] for start, stop in pairwise(matrix.indptr.tolist())]


def main(task: dict[str, Any]) -> None:
    answer = os.dup(1)
    os.dup2(2, 1)  # what a rival prints is no answer
    doc_NV, gold, test = (sp.load_npz(task[name]).tocsr().astype(np.float32) for name in ("train", "gold", "test"))
    found, train_s, predict_s = RIVAL_NAMES[task["what"]](doc_NV, gold, test, task["seed"], task["settings"])
    start = np.cumsum([0, *map(len, found)])
    label = np.array([label for row in found for label, _ in row], np.int64)
    score = np.array([score for row in found for _, score in row], np.float32)
    sp.save_npz(task["found"], sp.csr_matrix((score, label, start), (test.shape[0], gold.shape[1])))
    os.write(answer, json.dumps({"train_cpu_s": train_s, "predict_cpu_s": predict_s}).encode() + b"\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
