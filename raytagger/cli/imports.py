"""`raytagger import`: models of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raytagger.cli.arguments import Json
from raytagger.console import explained_errors, say, show, show_json

import_app = typer.Typer(no_args_is_help=True, help="Models of other programs as bundles.")


@import_app.command("pecos")
def import_from_pecos(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What XLinearModel.save or Text2Text.save wrote.")],
    output: Annotated[str, typer.Option(help="Where the bundle goes, local or s3://.")],
    labels: Annotated[str, typer.Option(help="A label file in the order of PECOS's labels.")] = "",
    vocabulary: Annotated[
        Path | None, typer.Option(help="A vectoriser's folder, or a file: a term a line.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Makes a bundle of a model that PECOS trained; it tags as PECOS does.

    Example: raytagger import pecos models/xlinear --labels labels.parquet --output models/imported
    """
    from raytagger.recipes.import_pecos import import_pecos

    with explained_errors():
        imported = import_pecos(folder, output, labels, vocabulary, say=say)
    show_json(imported.as_dict()) if as_json else show(imported.line())
