"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

RunFile = Annotated[str, typer.Argument(metavar="RUN.toml", help="A run file, or the name of a shipped one.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="a.b=v", help="Overrides a key of the run file.")]
SetSource = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="a.b=v", help="As in a run file: source.format=csv, source.map.text=body, …."),
]
Json = Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")]
Bundle = Annotated[str, typer.Argument(metavar="BUNDLE", help="OUT or OUT/<version>, local or s3://.")]
Documents = Annotated[str, typer.Option(help="File, folder or s3:// prefix.")]
Labels = Annotated[str, typer.Option(help="A newer label set than the bundle's.")]
Fields = Annotated[list[str] | None, typer.Option("--field", help="A column of the text; may be repeated.")]
ZeroShotSplits = Annotated[
    str | None, typer.Option(help="Splits of ZSR and UR, by commas; default: test and zeroshot, where they exist.")
]
Table = Annotated[str, typer.Argument(metavar="TABLE", help="A tag table, local or s3://.")]
OnRay = Annotated[bool, typer.Option("--ray", help="On Ray, however small the input.")]


def with_ray(overrides: list[str] | None, on_ray: bool) -> list[str]:
    """The overrides of a run, which `--ray` joins."""
    return [*(overrides or ()), *(["cluster.small_bytes=0"] if on_ray else [])]
