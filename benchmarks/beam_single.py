"""One document a call beside PECOS's own call: the median latency, Python included, one thread, in turns."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.beam_models import BEAM, K, Problem, build, import_model, names
from benchmarks.pecos_client import LAYERS, Pecos, ratios, shown
from raytagger.search.beam import BeamSearch
from raytagger.tables import table

DATA = "debian_seealso"
DOCUMENTS, TURNS = 300, 6


def measure(data: Path, quick: bool) -> dict[str, Any]:
    figures, rows = {}, []
    with Pecos(quick) as pecos:
        for name in names(quick):
            found = measure_problem(build(data, name, pecos), pecos, 2 if quick else TURNS)
            p50 = [shown(found["p50_us"].get(who), ".0f") for who in ("ours", *LAYERS)]
            rows.append([name, *p50, shown(found.get("ratio"), ".1f")])
            figures |= {f"{key}_{name}": value for key, value in found.items()}
    print(table(rows, ["labels", "ours, µs", *LAYERS, "times faster"]))
    return figures | {"left_out": pecos.left_out}


def measure_problem(problem: Problem, pecos: Pecos, turns: int) -> dict[str, Any]:
    """Both sides' seconds for each of the first documents."""
    seconds: dict[str, list[float]] = {who: [] for who in ("ours", *pecos.layers)}
    documents = sp.csr_matrix(sp.load_npz(problem.test))[:DOCUMENTS]
    with tempfile.TemporaryDirectory() as folder:
        search = import_model(problem, Path(folder) / "layout")
        pecos.open(problem.test, problem.model)
        for _ in range(turns):
            seconds["ours"] += single(search, documents)
            for layers in pecos.layers:
                answer = pecos.ask("single", layers=layers, beam=BEAM, k=K, documents=len(documents.indptr) - 1)
                seconds[layers] += answer["seconds"]
    p50, p10 = ({who: float(np.percentile(found, q)) * 1e6 for who, found in seconds.items()} for q in (50, 10))
    return {
        **ratios(p50),
        "p50_us": p50,
        "p10_us": p10,
    }


def single(search: BeamSearch, documents: sp.csr_matrix) -> list[float]:
    """Seconds of each document."""
    rows = [documents[[row]] for row in range(len(documents.indptr) - 1)]
    seconds = []
    for row in rows:
        index_T, value_T = row.indices, row.data
        started = time.perf_counter()
        search.search_one(index_T, value_T, K)
        seconds.append(time.perf_counter() - started)
    return seconds
