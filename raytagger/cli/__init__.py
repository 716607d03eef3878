"""The command line: parse, import late, one call."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from raytagger.causes import VERBOSE
from raytagger.cli.arguments import Json, OnRay, RunFile, Set, with_ray
from raytagger.cli.bundles import evaluate, explain, tag
from raytagger.cli.corpus import corpus_app
from raytagger.cli.imports import import_app
from raytagger.cli.labels import labels_app
from raytagger.cli.tags import tags_app
from raytagger.console import explained_errors, say, show, show_json, shown_progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Tags large corpora from large, growing label sets.\n\nExample: raytagger fit jobs/frozen.toml",
)
app.add_typer(corpus_app, name="corpus")
app.add_typer(tags_app, name="tags")
app.add_typer(labels_app, name="labels")
app.add_typer(import_app, name="import")


@app.command()
def fit(run_file: RunFile, overrides: Set = None, on_ray: OnRay = False, as_json: Json = False) -> None:
    """Trains (or freezes) a tagger; the bundle lands at output.bundle.

    Example: raytagger fit jobs/frozen.toml --set output.bundle=s3://models/frozen
    """
    from raytagger.recipes.fit import fit as fit_run
    from raytagger.settings import FitRun, read_run

    with explained_errors(), shown_progress() as progress:
        fitted = fit_run(read_run(run_file, FitRun, with_ray(overrides, on_ray)), progress, say)
    for line in fitted.report.lines():
        say(line)
    show_json(fitted.as_dict()) if as_json else show(fitted.line())


for command in (tag, evaluate, explain):  # after `fit`, as help lists them
    app.command()(command)


@app.command()
def retag(run_file: RunFile, overrides: Set = None, on_ray: OnRay = False, as_json: Json = False) -> None:
    """Tags a whole corpus into the tag table, in one commit.

    Example: ray job submit --working-dir . -- python jobs/retag.py jobs/retag.toml
    """
    from raytagger.retag.run import retag as retag_run
    from raytagger.settings import RetagRun, read_run

    with explained_errors(), shown_progress() as progress:
        night = retag_run(read_run(run_file, RetagRun, with_ray(overrides, on_ray)), progress)
    show_json(night.as_dict()) if as_json else show(night.line())


@app.command()
def serve(
    run_file: RunFile,
    port: Annotated[int | None, typer.Option(help="Instead of serve.port.")] = None,
    overrides: Set = None,
) -> None:
    """Serves a bundle: POST /v1/tag, GET /healthz.

    Example: raytagger serve jobs/serve.toml --set serve.bundle=models/frozen --port 8000
    """
    from raytagger.serve.app import serve_forever
    from raytagger.settings import ServeRun, read_run

    sets = [*(overrides or ()), *([f"serve.port={port}"] if port is not None else [])]
    with explained_errors():
        serve_forever(read_run(run_file, ServeRun, sets), say)


@app.command()
def doctor(
    storage: Annotated[str, typer.Option(help="s3://bucket/prefix where a probe may be written and deleted.")] = "",
    as_json: Json = False,
) -> None:
    """Checks Ray, storage, encoders, disk and device, and says what to do about what does not work.

    Example: raytagger doctor --storage s3://lake/probe
    """
    from raytagger.doctor import examine

    with explained_errors():
        findings = examine(storage)
    lines = [line for finding in findings for line in finding.lines()]
    show_json([vars(finding) for finding in findings]) if as_json else show("\n".join(lines))
    raise typer.Exit(0 if all(finding.works or finding.optional for finding in findings) else 1)


@app.command()
def demo(
    output: Annotated[str, typer.Option(help="A folder for all that the demo makes.")] = "demo",
    sample: Annotated[
        int, typer.Option(min=0, help="Documents of each split, of train 100 times as many; 0: all.")
    ] = 0,
) -> None:
    """Builds a corpus, freezes and trains taggers, tags what nobody has tagged, and writes a report.

    Example: raytagger demo --output demo
    """
    from raytagger.demo import run_demo

    with explained_errors(), shown_progress() as progress:
        run_demo(output, sample, show, progress)


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", help="Shows tracebacks and what Ray says.")] = False,
) -> None:
    """What goes for every command."""
    if verbose:
        os.environ[VERBOSE] = "1"


def main(arguments: list[str] | None = None) -> None:
    """The entry point of the console script and of the jobs; `--verbose` may stand anywhere."""
    given = sys.argv[1:] if arguments is None else arguments
    with explained_errors():
        app(sorted(given, key=lambda word: word != "--verbose"), prog_name="raytagger")
