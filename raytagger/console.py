"""What the command line shows: progress, tables, errors. Everything but results goes to standard error."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raytagger.causes import explain, is_verbose
from raytagger.progress import Progress

LINE_EVERY_S = 10.0
INTERRUPTED = 130
PARSERS = ("click", "typer")  # they tell of wrong usage themselves


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
    """Prints errors in one line and leaves with their exit code; says what Ctrl-C leaves behind.

    Whatever is raised, a library's exceptions too, comes out as one of our own; the traceback is for `--verbose`.
    """
    if not is_verbose():
        # Ray Data and Serve tell their own plan and progress; ours are shown instead.
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", module=r"ray\.")
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted: what is finished is kept; the same command goes on from there.")
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        if type(error).__module__.split(".")[0] in PARSERS:
            raise
        if is_verbose():
            traceback.print_exc()
        told = explain(error)
        say(f"error: {told}")
        raise SystemExit(told.exit_code) from None


def say(text: str) -> None:
    """A line for a person."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place that talks


def show(text: str) -> None:
    """A line of the result."""
    print(text, flush=True)  # noqa: T201 - the one place that answers


def show_json(value: Any) -> None:
    """A result for a program."""
    show(json.dumps(value, default=str))
