"""Beam search in batches beside PECOS, with a model of PECOS: documents a CPU second, one thread, in turns."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.beam_models import BEAM, K, Problem, build, disagreements, import_model, names
from benchmarks.pecos_client import LAYERS, Pecos, ratios, shown
from raytagger.search.beam import BeamSearch
from raytagger.search.layout import open_layout
from raytagger.tables import table

DATA = "debian_seealso"
TURNS = 9


def measure(data: Path, quick: bool) -> dict[str, Any]:
    figures, rows = {}, []
    with Pecos(quick) as pecos:
        for name in names(quick):
            found = measure_problem(build(data, name, pecos), pecos, 3 if quick else TURNS)
            rates = [found["docs_per_cpu_s"].get(who) for who in ("ours", *LAYERS)]
            times = [found.get(key) for key in ("ratio_default", "ratio")]
            rows.append([name, *(shown(rate, ",.0f") for rate in rates), *(shown(value, ".1f") for value in times)])
            figures |= {f"{key}_{name}": value for key, value in found.items()}
    print(table(rows, ["labels", "ours, docs / CPU s", *LAYERS, "over default", "over better"]))
    return figures | {"left_out": pecos.left_out}


def measure_problem(problem: Problem, pecos: Pecos, turns: int) -> dict[str, Any]:
    """Both sides' CPU seconds for all test documents, the median over turns."""
    doc_BV = sp.csr_matrix(sp.load_npz(problem.test))
    documents = len(doc_BV.indptr) - 1
    seconds: dict[str, list[float]] = {who: [] for who in ("ours", *pecos.layers)}
    with tempfile.TemporaryDirectory() as folder:
        search = import_model(problem, Path(folder) / "layout")
        pecos.open(problem.test, problem.model)
        output = f"{folder}/found.npz"
        found = search.search(doc_BV, K, threads=1)
        for _ in range(turns):
            started = time.process_time()
            search.search(doc_BV, K, threads=1)
            seconds["ours"].append(time.process_time() - started)
            for layers in pecos.layers:
                answer = pecos.ask("predict", layers=layers, beam=BEAM, k=K, output=output)
                seconds[layers].append(answer["cpu_s"])
        agreement = disagreements(found, sp.csr_matrix(sp.load_npz(output))) if pecos.there else {}
        size = size_and_start(Path(folder) / "layout")
    cpu_s = {who: float(np.median(found)) for who, found in seconds.items()}
    return {
        **ratios(cpu_s),
        "docs_per_cpu_s": {who: documents / value for who, value in cpu_s.items()},
        "two_threads_speedup": two_threads(search, doc_BV),
        "agreement": agreement,
        **size,
    }


def size_and_start(folder: Path) -> dict[str, float]:
    """Megabytes on disk, and milliseconds to open them, checked."""
    started = time.perf_counter()
    open_layout(folder)
    opened_ms = (time.perf_counter() - started) * 1e3
    return {"size_mb": sum(path.stat().st_size for path in folder.iterdir()) / 1e6, "open_ms": opened_ms}


def two_threads(search: BeamSearch, doc_BV: sp.csr_matrix) -> float:
    """Wall time with one thread over wall time with two; says little on a busy machine."""
    seconds = {1: [], 2: []}
    for _ in range(3):
        for threads, found in seconds.items():
            started = time.perf_counter()
            search.search(doc_BV, K, threads=threads)
            found.append(time.perf_counter() - started)
    return min(seconds[1]) / min(seconds[2])
