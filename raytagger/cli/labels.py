"""`raytagger labels`: label sets, their health and their versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from raytagger.cli.arguments import Fields, Json, OnRay, RunFile, Set, SetSource, ZeroShotSplits, with_ray
from raytagger.console import explained_errors, say, show, show_json, shown_progress

labels_app = typer.Typer(no_args_is_help=True, help="Label sets and their versions.")


@labels_app.command("embed")
def labels_embed(run_file: RunFile, overrides: Set = None, on_ray: OnRay = False, as_json: Json = False) -> None:
    """Embeds the labels that the bank does not know, many over all GPUs of a cluster; `fit` then finds them there.

    Example: raytagger labels embed jobs/embed-labels.toml --set labels.bank=s3://models/bank
    """
    from raytagger.settings import FitRun, read_run
    from raytagger.stream.embed import fill_bank

    with explained_errors(), shown_progress() as progress:
        filled = fill_bank(read_run(run_file, FitRun, with_ray(overrides, on_ray)), progress, say)
    show_json(filled.as_dict()) if as_json else show(filled.line())


@labels_app.command("check")
def labels_check(
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="A label file, local or s3://.")],
    encoder: Annotated[str, typer.Option(help="The frozen encoder's path; default MiniLM.")] = "",
    encoder_kind: Annotated[str, typer.Option(help="As encoder.kind: static, http, ….")] = "transformer",
    max_tokens: Annotated[int, typer.Option(help="Tokens of a text that the encoder reads.")] = 128,
    prompt: Annotated[str, typer.Option(help="Put before every label text, as labels.prompt.")] = "",
    similar: Annotated[float, typer.Option(help="The least cosine of texts that are too similar.")] = 0.95,
    bundle: Annotated[str, typer.Option(help="Measures on it what ill labels cost; with --documents.")] = "",
    documents: Annotated[str, typer.Option(help="Labelled documents: file, folder or s3:// prefix.")] = "",
    zero_shot_split: ZeroShotSplits = None,
    limit: Annotated[int, typer.Option(help="At most so many documents of a split; 0 for all.")] = 0,
    field: Fields = None,
    overrides: SetSource = None,
    as_json: Json = False,
) -> None:
    """Finds label texts that are empty, doubled, too similar, uninformative, cut or short, and what they cost.

    Example: raytagger labels check labels.parquet --bundle models/frozen --documents docs.parquet
    """
    from raytagger.doctor.visit import Trial, examine_labels
    from raytagger.settings import EncoderSettings, RetagRun, make_run
    from raytagger.store import Store

    with explained_errors(), shown_progress() as progress:
        path = encoder or EncoderSettings.path
        reader = EncoderSettings(path=path, kind=encoder_kind, max_tokens=max_tokens, prompt=prompt)
        splits = None if zero_shot_split is None else tuple(filter(None, zero_shot_split.split(",")))
        source = {"documents": documents, "fields": field or []}
        run = make_run({"source": source}, RetagRun, overrides or (), "options")
        trial = Trial(bundle, run.source, splits, limit)
        health = examine_labels(labels, reader, similar, trial, progress, Store(run.storage))
    show_json(health.as_dict()) if as_json else show("\n".join(health.lines()))


@labels_app.command("diff")
def labels_diff(old: str, new: str, overrides: SetSource = None, as_json: Json = False) -> None:
    """Lists the edits between two label files, and what each makes necessary.

    Example: raytagger labels diff labels-may.parquet labels-june.parquet
    """
    from raytagger.corpus import read_source_labels
    from raytagger.corpus.edits import diff
    from raytagger.settings import RetagRun, make_run
    from raytagger.store import Store

    with explained_errors():
        run = make_run({}, RetagRun, overrides or (), "options")
        store = Store(run.storage)
        edits = diff(*(read_source_labels(store, replace(run.source, labels=labels)) for labels in (old, new)))
    if as_json:
        show_json([edit.to_dict() for edit in edits])
        return
    show("\n".join(f"{edit}  # {edit.recompute}" for edit in edits) or "no edits")


@labels_app.command("apply")
def labels_apply(
    edits_file: Annotated[str, typer.Argument(metavar="EDITS", help="JSONL: an edit a line.")],
    labels: Annotated[str, typer.Argument(metavar="LABELS")],
    output: Annotated[str, typer.Option(help="Where the new version goes.")],
    overrides: SetSource = None,
) -> None:
    """Applies edits to a label file.

    Example: raytagger labels apply edits.jsonl labels.parquet --output labels-new.parquet
    """
    from raytagger.corpus import read_source_labels
    from raytagger.corpus.edits import apply, read_edits
    from raytagger.corpus.output import write_table
    from raytagger.settings import RetagRun, make_run
    from raytagger.store import Store, check_writable

    with explained_errors():
        run = make_run({}, RetagRun, overrides or (), "options")
        store = Store(run.storage)
        check_writable(store, output)
        older = read_source_labels(store, replace(run.source, labels=labels))
        newer = apply(older, read_edits(store, edits_file))
        write_table(store, output, newer.to_table())
    show(f"{len(newer):,} labels, version {newer.fingerprint}: {output}")
