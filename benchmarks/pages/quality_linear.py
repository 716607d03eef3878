"""XR-Linear and its baselines: what they find, what validation documents chose, what training costs."""

from typing import Any

from benchmarks.pages.tables import Block, Results, interval, markdown
from raytagger.tables import percent

NAMES = {
    "terms": "raytagger, one matrix",
    "terms, 3 trees": "raytagger, three trees",
    "terms and MiniLM": "raytagger, one matrix, words and MiniLM",
    "tree": "raytagger, one tree",
    "3 trees": "raytagger, three trees",
    "PECOS": "PECOS, one tree",
    "PECOS, 3 trees": "PECOS, three trees",
    "Omikuji Parabel": "Omikuji, Parabel (three trees)",
    "Omikuji Bonsai": "Omikuji, Bonsai (three trees)",
    "napkinXC PLT": "napkinXC",
}
SETS = ("debtags", "debian_seealso", "gnd_tibcore")


def rows_of(data: str, *keys: str) -> Block:
    """A block of one data set."""

    def rows(results: Results) -> str:
        found = results["xrlinear"][data]["rows"]
        cells = [[NAMES[name], *(percent(row[key]) for key in keys)] for name, row in found.items()]
        return markdown([f"{data}, {results['xrlinear'][data]['trained_labels']:,} trained labels", *keys], cells)

    return rows


def settings(results: Results) -> str:
    """What was tried for every row, and what validation documents chose."""
    cells = []
    for data in SETS:
        for name, row in results["xrlinear"][data]["rows"].items():
            tried = [f"{describe(point['settings'])} {percent(point['nDCG@5'])}" for point in row["grid"]]
            cells.append([data, NAMES[name], describe(chosen(row)), "; ".join(tried)])
    return markdown(["", "row", "chosen", "nDCG@5 on validation documents"], cells)


def chosen(row: dict[str, Any]) -> Any:
    return max(row["grid"], key=lambda point: point["nDCG@5"])["settings"]


def describe(point: Any) -> str:
    return point if isinstance(point, str) else ", ".join(f"{name} {value}" for name, value in point.items())


def costs(results: Results) -> str:
    """CPU seconds of training, first seed."""
    cells = [
        [data, NAMES[name], f"{row['cpu_s']:.1f}"]
        for data in SETS
        for name, row in results["xrlinear"][data]["rows"].items()
    ]
    return markdown(["", "row", "training, CPU s"], cells)


def differences(results: Results) -> str:
    """Ours less each baseline, paired by document."""
    cells = []
    for data in SETS:
        for name, found in results["xrlinear"][data]["paired"].items():
            ours, theirs = name.split(" over ")
            cells.append([f"{data}: {NAMES[ours]}, less {NAMES[theirs]}", *map(interval, found.values())])
    return markdown(["", "P@1", "nDCG@5", "PSP@5"], cells)


BLOCKS: dict[str, Block] = {
    "xrlinear, debtags": rows_of("debtags", "P@1", "P@5", "R@10", "nDCG@5", "PSP@5", "ZSR@10", "UR@1"),
    "xrlinear, debian_seealso": rows_of("debian_seealso", "P@1", "P@5", "R@10", "nDCG@5", "PSP@5"),
    "xrlinear, gnd_tibcore": rows_of("gnd_tibcore", "P@1", "P@5", "R@10", "nDCG@5", "PSP@5", "ZSR@10", "UR@1"),
    "xrlinear, settings": settings,
    "xrlinear, costs": costs,
    "xrlinear, differences": differences,
}
