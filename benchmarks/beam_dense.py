"""Sparse and 384 dense features together, as MatchXML has them, beside PECOS, which takes the dense ones as sparse.

A problem of speed: the dense weights are random, and so is the projection that makes documents' vectors.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks.beam_models import BEAM, K, Problem, build, disagreements, import_model, names
from benchmarks.pecos_client import LAYERS, Pecos, ratios, shown
from raytagger.recipes.import_pecos import read_pecos
from raytagger.schema import FloatArray
from raytagger.tables import table

DATA = "debian_seealso"
WIDTH, TURNS = 384, 5


def measure(data: Path, quick: bool) -> dict[str, Any]:
    figures, rows = {}, []
    with Pecos(quick) as pecos:
        for name in names(quick):
            found = measure_problem(build(data, name, pecos), pecos, 2 if quick else TURNS)
            rates = [found["docs_per_cpu_s"].get(who) for who in ("ours", *LAYERS)]
            times = [found.get(key) for key in ("ratio_default", "ratio")]
            rows.append([name, *(shown(rate, ",.0f") for rate in rates), *(shown(value, ".1f") for value in times)])
            figures |= {f"{key}_{name}": value for key, value in found.items()}
    print(table(rows, ["labels", "ours, docs / CPU s", *LAYERS, "over default", "over better"]))
    return figures | {"left_out": pecos.left_out}


def measure_problem(problem: Problem, pecos: Pecos, turns: int) -> dict[str, Any]:
    """Both sides' CPU seconds for all test documents, the median over turns."""
    rng = np.random.default_rng(0)
    doc_BV = sp.csr_matrix(sp.load_npz(problem.test))
    doc_BE = vectors(doc_BV, rng)
    documents = len(doc_BE)
    seconds: dict[str, list[float]] = {who: [] for who in ("ours", *pecos.layers)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        dense = widen(problem, folder / "model", rng)
        search = import_model(problem, folder / "layout", dense)
        sp.save_npz(folder / "test.npz", sp.hstack([doc_BV, sp.csr_matrix(doc_BE)], format="csr"))
        pecos.open(folder / "test.npz", folder / "model")
        output = str(folder / "found.npz")
        found = search.search(doc_BV, K, doc_BE, threads=1)
        for _ in range(turns):
            started = time.process_time()
            search.search(doc_BV, K, doc_BE, threads=1)
            seconds["ours"].append(time.process_time() - started)
            for layers in pecos.layers:
                answer = pecos.ask("predict", layers=layers, beam=BEAM, k=K, output=output)
                seconds[layers].append(answer["cpu_s"])
        agreement = disagreements(found, sp.csr_matrix(sp.load_npz(output))) if pecos.there else {}
    cpu_s = {who: float(np.median(found)) for who, found in seconds.items()}
    return {
        **ratios(cpu_s),
        "docs_per_cpu_s": {who: documents / value for who, value in cpu_s.items()},
        "agreement": agreement,
    }


def vectors(doc_BV: sp.csr_matrix, rng: np.random.Generator) -> FloatArray:
    """Unit float32 (B, E), a random projection."""
    projection = rng.standard_normal((int(doc_BV.indices.max()) + 1, WIDTH), np.float32)
    doc_BE = np.asarray(doc_BV[:, : len(projection)] @ projection)
    norm_B = np.linalg.norm(doc_BE, axis=1, keepdims=True)
    return doc_BE / np.maximum(norm_B, 1e-9)


def widen(problem: Problem, folder: Path, rng: np.random.Generator) -> list[FloatArray]:
    """Copies PECOS's model with dense weights put in as rows; gives them to us, in the order of our places."""
    shutil.copytree(problem.model, folder)
    model, dense = read_pecos(problem.model), []
    for level in range(model.tree.depth):
        path = folder / "ranker" / f"{level}.model"
        weight = sp.csc_matrix(sp.load_npz(path / "W.npz"))
        dense_EP = rng.standard_normal((WIDTH, len(weight.indptr) - 1), np.float32) * np.float32(0.05)
        rows = [weight[:-1], sp.csc_matrix(dense_EP), weight[-1:]]
        sp.save_npz(path / "W.npz", sp.vstack(rows, format="csc"), compressed=False)
        last = level == model.tree.depth - 1
        dense.append(np.ascontiguousarray((dense_EP[:, model.tree.label_P] if last else dense_EP).T))
        facts = path / "param.json"
        features = f'"nr_features": {model.features}'
        facts.write_text(facts.read_text().replace(features, f'"nr_features": {model.features + WIDTH}'))
    facts = folder / "ranker" / "param.json"
    features = f'"nr_features": {model.features}'
    facts.write_text(facts.read_text().replace(features, f'"nr_features": {model.features + WIDTH}'))
    return dense
