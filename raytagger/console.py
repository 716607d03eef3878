"""What the command line shows: progress, tables, errors. Everything but results goes to standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from raytagger.errors import RaytaggerError
from raytagger.progress import Progress

LINE_EVERY_S = 10.0
INTERRUPTED = 130


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress bars on a terminal, a line every ten seconds elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int | None = None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


class _Lines:
    """A line a stage every ten seconds, for logs."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int | None = None) -> None:
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            say(f"{stage}: {done:,}" + (f" of {total:,}" if total else ""))


@contextmanager
def explained_errors() -> Iterator[None]:
    """Prints our own errors in one line and leaves with their exit code; says what Ctrl-C leaves behind."""
    try:
        yield
    except RaytaggerError as error:
        say(f"error: {error}")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        say("interrupted: what is finished is kept; the same command goes on from there.")
        raise SystemExit(INTERRUPTED) from None


def say(text: str) -> None:
    """A line for a person."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place that talks


def show(text: str) -> None:
    """A line of the result."""
    print(text, flush=True)  # noqa: T201 - the one place that answers


def show_json(value: Any) -> None:
    """A result for a program."""
    show(json.dumps(value, default=str))


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Aligned columns; the first to the left, numbers to the right."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def percent(value: float | None) -> str:
    """A fraction as a percentage, `-` where it is undefined."""
    return "-" if value is None else f"{100 * value:.1f}"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
