"""What blocks are made with: results as they are read, figures as they are written, tables as Markdown."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from raytagger.tables import percent


class Results:
    """The newest result of each benchmark, by name.

    Args:
        folder: of `NAME.json`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read = cache(self._load)

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._read(name)

    def _load(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / f"{name}.json").read_text())


SEED = re.compile(r"(, seed |-)\d+$")
FIGURE = re.compile(r"$|[-+]?\d")
Block: TypeAlias = Callable[[Results], str]


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; columns of figures alone stand to the right."""
    columns = zip(*rows, strict=True)
    rule = ["---:" if all(FIGURE.match(str(cell)) for cell in column) else "---" for column in columns]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (header, rule, *rows))


def of_seeds(values: Sequence[float]) -> str:
    """The mean in percent, with the least and the most where they differ."""
    mean, ends = percent(sum(values) / len(values)), [percent(min(values)), percent(max(values))]
    return mean if ends[0] == ends[1] else f"{mean} ({ends[0]} to {ends[1]})"


def points(value: float) -> str:
    """A difference in percentage points, with its sign."""
    return f"{100 * value:+.1f}"


def interval(found: Sequence[float]) -> str:
    """A difference in points with the ends of its interval: [value, low, high]."""
    return f"{points(found[0])} ({points(found[1])} to {points(found[2])})"


def by_seed(rows: Mapping[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of all seeds under one name: `NAME`, `NAME, seed 1`, `NAME-1`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows.items():
        found.setdefault(SEED.sub("", name), []).append(row)
    return found


def three(row: dict[str, Any]) -> str:
    """nDCG@5 / ZSR@10 / UR@1 of a row."""
    return " / ".join(percent(row[key]) for key in ("nDCG@5", "ZSR@10", "UR@1"))


def made(names: Sequence[str], results: Results) -> str:
    """One line a benchmark: command, day, how long, and how busy the machine was."""
    return "\n".join(_made(name, results[name]) for name in names)


def _made(name: str, found: dict[str, Any]) -> str:
    load = f"load {found['load_before']:.1f} before and {found['load_after']:.1f} after"
    seconds = found["seconds"]
    took = f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
    return f"*`python -m benchmarks {name}`, {found['date']}, {found['cpus']} CPU cores, {took}, {load}.*"
