"""Runs benchmarks by name.

Example: python -m benchmarks stream --quick
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

NAMES = {
    "frozen": "frozen rows on debtags: TF-IDF, BM25, static, MiniLM, their mean, popularity",
    "ofde": "OF-DE from MiniLM on debtags: three seeds, with and without the anchor, the front",
    "stream": "tagging documents a second over a tuned bare encoder loop",
    "stream_memory": "the driver's memory at 60,000 and at 600,000 documents",
    "small_work": "`raytagger tag` from command to exit, in one process and on Ray, 100 to 100,000 documents",
    "train_step": "CPU seconds of a training step, ours over sentence-transformers' trainer; 50,000 labels",
    "collapse": "the fall of zero-shot when both sides are trained, and OF-DE beside it, as curves",
    "projection": "the start of the label projection: least squares over random",
    "switches": "λ and the two switches for unseen labels on three data sets",
    "tfidf": "raw text to 1-2-gram TF-IDF: documents a CPU second over scikit-learn's and PECOS's vectorisers",
    "beam": "beam search over PECOS's own weights: documents a CPU second, 20,000 and 200,000 labels",
    "beam_single": "the same, one document at a time",
    "beam_dense": "the same with dense features beside the sparse ones",
    "text_to_tags": "raw text to tags over PECOS's text pipeline and over scikit-learn with PECOS",
    "ranker": "CPU seconds of training the rankers over PECOS's, on the same instances",
    "xrlinear": "linear trees on debtags, debian_seealso and gnd_tibcore beside PECOS, Omikuji, napkinXC",
    "blend": "the blend beside its members: debtags with OF-DE, attack_procedures, eurlex_triples, gnd_tibcore",
    "xml0": "ConSE, label fusion, the semantic module and XML0 on unseen labels",
    "subsets": "label fusion: branch and bound beside exhaustive search, 4 to 30 labels",
    "label_doctor": "what the label doctor finds in five label sets, and what ill labels cost",
    "growth": "time a document and memory from a thousand to a million labels, as a plot",
    "dense_index": "dense retrieval, exact and by HNSW, from a thousand to 78,000 labels",
    "tree_memory": "a 200,000-label model in two processes: shared memory, opening, imports, compilation",
    "cluster_labels": "a million labels cut into a tree: memory, CPU seconds, likeness beside PECOS's",
    "large_labels": "78,741 labels: bank, tagging, evaluation; time and memory",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES)
    parser.add_argument("--list", action="store_true", help="names the benchmarks")
    parser.add_argument("--all", action="store_true", help="runs every benchmark that its data allows")
    parser.add_argument("--quick", action="store_true", help="a small sample: shows that it works, not how fast")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the data sets")
    parser.add_argument("--json", type=Path, help="writes the figures to a file")
    arguments = parser.parse_args()
    if arguments.list or not (arguments.name or arguments.all):
        for name, what in NAMES.items():
            print(f"{name:15} {what}")
        return
    for name in NAMES if arguments.all else [arguments.name]:
        run(name, arguments)


def run(name: str, arguments: argparse.Namespace) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    needs = getattr(module, "DATA", None)
    if needs and not (arguments.data / needs / "docs.parquet").is_file():
        message = f"{name}: needs the data set {needs} under {arguments.data}; name its folder with --data"
        if not arguments.all:
            sys.exit(message)
        print(f"{message}: left out")
        return
    started, load = time.perf_counter(), os.getloadavg()[0]
    figures = module.measure(arguments.data, arguments.quick)
    figures = {
        "benchmark": name,
        **figures,
        "quick": arguments.quick,
        "seconds": round(time.perf_counter() - started, 1),
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
    }
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
