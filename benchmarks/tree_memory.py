"""A model of 200,000 labels in two processes: what they share, how fast it opens, what it imports and compiles."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = "debian_seealso"
HEAVY = ("torch", "transformers", "ray", "faiss", "sklearn", "gensim", "pandas", "pyarrow", "scipy", "numba")
OPENINGS = 5


def measure(data: Path, quick: bool) -> dict[str, Any]:
    from benchmarks.beam_models import build
    from benchmarks.pecos_client import Pecos
    from raytagger.tables import table

    with Pecos(quick) as pecos:
        problem = build(data, "20k" if quick else "200k", pecos)
    with tempfile.TemporaryDirectory() as temporary:
        layout = write_model(problem.model, Path(temporary))
        memory = two_processes(layout, problem.test)
        kernels = Path(os.environ["NUMBA_CACHE_DIR"]) if quick else Path(temporary) / "numba"
        compiled = compilation(layout, kernels)
        bundle = small_bundle(data, Path(temporary))
        imports = {what: in_process("imports", what, bundle) for what in ("search", "load")}
        megabytes = sum(path.stat().st_size for path in layout.iterdir()) / 1e6
    share = [each["pss_mb"] / each["rss_mb"] for each in memory]
    rows = [
        ["layout, MB", f"{megabytes:.0f}"],
        ["mapped Rss of each process, MB", ", ".join(f"{each['rss_mb']:.0f}" for each in memory)],
        ["mapped Pss of each process, MB", ", ".join(f"{each['pss_mb']:.0f}" for each in memory)],
        ["opening, ms (CPU ms)", f"{memory[0]['open_ms']:.1f} ({memory[0]['open_cpu_ms']:.1f})"],
        ["first compilation, CPU s", f"{compiled['first_cpu_s']:.1f}"],
        ["from numba's cache, CPU s", f"{compiled['cached_cpu_s']:.2f}"],
        ["importing and loading a bundle, CPU s", f"{imports['load']['cpu_s']:.1f}"],
        ["which imports", ", ".join(imports["load"]["heavy"])],
    ]
    print(table(rows, ["", "figure"]))
    return {
        "pss_over_rss": sum(share) / len(share),
        "open_ms": max(each["open_ms"] for each in memory),
        "layout_mb": megabytes,
        "processes": memory,
        "compilation": compiled,
        "imports": imports,
        "torch_imported": "torch" in imports["load"]["heavy"],
        "left_out": pecos.left_out,
    }


def write_model(pecos: Path, folder: Path) -> Path:
    """The layout of PECOS's model."""
    from raytagger.recipes.import_pecos import read_pecos
    from raytagger.search.layout import write_layout

    model = read_pecos(pecos)
    write_layout(folder / "layout", model.tree, model.weights, renumber=True)
    return folder / "layout"


def small_bundle(data: Path, folder: Path) -> str:
    """A tree bundle of some documents: what is imported does not hang on its size."""
    from benchmarks.ofde import source_of
    from benchmarks.xrlinear import sampled
    from raytagger.recipes.fit import fit
    from raytagger.settings import FitRun, OutputSettings, SearchSettings

    out, source = f"{folder}/bundle", sampled(source_of(data, DATA), folder)
    fit(FitRun(method="xrlinear", source=source, search=SearchSettings(index="tree"), output=OutputSettings(out)))
    return out


def two_processes(layout: Path, documents: Path) -> list[dict[str, Any]]:
    """What two servers of one layout say of themselves while both are there."""
    servers = [start("serve", layout, documents) for _ in range(2)]
    facts = [read_line(server) for server in servers]
    for server, found in zip(servers, facts, strict=True):
        found |= mapped(server.pid, layout)
    for server in servers:
        server.communicate()
    return facts


def compilation(layout: Path, cache: Path) -> dict[str, float]:
    """CPU and wall seconds of the first use with an empty cache of numba's, and with that cache."""
    found = {}
    for when in ("first", "cached"):
        took = in_process("warm", layout, cache=cache)
        found |= {f"{when}_{name}": value for name, value in took.items()}
    return found | {"cache_kb": sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) / 1e3}


def mapped(process: int, folder: Path) -> dict[str, float]:
    """Megabytes of a process's mappings of the files in a folder: resident, and its share of them."""
    sums, ours = {"Rss": 0, "Pss": 0}, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):  # a mapping's first line
            ours = len(words) > 5 and Path(words[5]).parent == folder
        elif ours and words[0][:-1] in sums:
            sums[words[0][:-1]] += int(words[1])
    return {f"{name.lower()}_mb": kilobytes / 1e3 for name, kilobytes in sums.items()}


def start(*words: object, cache: Path | None = None) -> subprocess.Popen[str]:
    """One of the functions below in a process of its own."""
    environment = {**os.environ} | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})
    return subprocess.Popen(
        [sys.executable, __file__, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def in_process(*words: object, cache: Path | None = None) -> dict[str, Any]:
    """Its answer."""
    process = start(*words, cache=cache)
    answer = read_line(process)
    process.communicate()
    return answer


def read_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the benchmark ended before it answered")
    return json.loads(line)


# What follows runs in those processes: this file as a script, which at the top imports nothing of what is measured.

Clocks = tuple[float, float]
KEPT: list[Any] = []  # what stays open while the process is looked at


def clocks() -> Clocks:
    return time.perf_counter(), time.process_time()


def since(before: Clocks) -> dict[str, Any]:
    wall, cpu = clocks()
    return {"wall_s": wall - before[0], "cpu_s": cpu - before[1]}


def imports(what: str, bundle: str) -> dict[str, Any]:
    """What the search alone, or loading a bundle, imports."""
    before = clocks()
    if what == "search":
        import raytagger.search.beam  # noqa: F401 - this is what is measured
    else:
        from raytagger.bundle import load

        load(bundle)
    return {**since(before), "heavy": [name for name in HEAVY if name in sys.modules], "modules": len(sys.modules)}


def warm(layout: str) -> dict[str, Any]:
    """The first use of the search."""
    from raytagger.search.beam import warm as warm_search
    from raytagger.search.layout import open_layout

    opened, before = open_layout(Path(layout)), clocks()
    warm_search(opened)
    return since(before)


def serve(layout: str, documents: str) -> dict[str, Any]:
    """Opens the layout a few times, and searches all documents, so that their part of it is resident."""
    import scipy.sparse as sp

    from raytagger.search.beam import BeamSearch
    from raytagger.search.layout import open_layout

    times = []
    for _ in range(OPENINGS):
        before = clocks()
        open_layout(Path(layout))
        times.append(since(before))
    search = BeamSearch(open_layout(Path(layout)))
    search.search(sp.csr_matrix(sp.load_npz(documents)), 10)
    KEPT.append(search)
    middle = sorted(times, key=lambda each: each["wall_s"])[OPENINGS // 2]
    return {
        "open_ms": 1e3 * middle["wall_s"],
        "open_cpu_ms": 1e3 * middle["cpu_s"],
        "first_open_ms": 1e3 * times[0]["wall_s"],
    }


FUNCTIONS: dict[str, Callable[..., dict[str, Any]]] = {"imports": imports, "warm": warm, "serve": serve}

if __name__ == "__main__":
    print(json.dumps(FUNCTIONS[sys.argv[1]](*sys.argv[2:])), flush=True)
    sys.stdin.read()  # until the other process is done
