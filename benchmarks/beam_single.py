"""One document a call beside PECOS's own call: the median latency, Python included, one thread, in turns."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.beam_models import BEAM, K, Problem, build, import_model, names
from benchmarks.pecos_peer import LAYERS, Pecos
from raytagger.search.beam import BeamSearch
from raytagger.tables import table

DATA = "debian_seealso"
DOCUMENTS, TURNS = 300, 6


def measure(data: Path, quick: bool) -> dict[str, Any]:
    figures, rows = {}, []
    for name in names(quick):
        found = measure_problem(build(data, name), 2 if quick else TURNS)
        p50 = found["p50_us"]
        rows.append([name, *(f"{p50[who]:.0f}" for who in ("ours", *LAYERS)), f"{found['ratio']:.1f}"])
        figures |= {f"{key}_{name}": value for key, value in found.items()}
    print(table(rows, ["labels", "ours, µs", *LAYERS, "times faster"]))
    return figures


def measure_problem(problem: Problem, turns: int) -> dict[str, Any]:
    """Both sides' seconds for each of the first documents."""
    seconds: dict[str, list[float]] = {who: [] for who in ("ours", *LAYERS)}
    documents = sp.csr_matrix(sp.load_npz(problem.test))[:DOCUMENTS]
    with tempfile.TemporaryDirectory() as folder, Pecos() as pecos:
        search = import_model(problem, Path(folder) / "layout")
        pecos.ask("open", documents=str(problem.test), model=str(problem.model))
        for _ in range(turns):
            seconds["ours"] += single(search, documents)
            for layers in LAYERS:
                answer = pecos.ask("single", layers=layers, beam=BEAM, k=K, documents=DOCUMENTS)
                seconds[layers] += answer["seconds"]
    p50, p10 = ({who: float(np.percentile(found, q)) * 1e6 for who, found in seconds.items()} for q in (50, 10))
    return {
        "ratio": min(p50[layers] for layers in LAYERS) / p50["ours"],
        "ratio_default": p50[LAYERS[0]] / p50["ours"],
        "p50_us": p50,
        "p10_us": p10,
    }


def single(search: BeamSearch, documents: sp.csr_matrix) -> list[float]:
    """Seconds of each document."""
    rows = [documents[[row]] for row in range(DOCUMENTS)]
    seconds = []
    for row in rows:
        index_T, value_T = row.indices, row.data
        started = time.perf_counter()
        search.search_one(index_T, value_T, K)
        seconds.append(time.perf_counter() - started)
    return seconds
