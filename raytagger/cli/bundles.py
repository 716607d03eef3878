"""Commands on a bundle: tag, evaluate, explain."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from raytagger.cli.arguments import (
    Bundle,
    Documents,
    Fields,
    Json,
    Labels,
    OnRay,
    SetSource,
    ZeroShotSplits,
    with_ray,
)
from raytagger.console import explained_errors, say, show, show_json, shown_progress
from raytagger.tables import figure_lines


def tag(
    bundle: Bundle,
    documents: Documents,
    output: Annotated[str, typer.Option(help="A file that ends in .parquet, or a directory.")],
    labels: Labels = "",
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be repeated.")] = None,
    k: Annotated[int, typer.Option(min=1, help="Labels a document.")] = 100,
    field: Fields = None,
    overrides: SetSource = None,
    on_ray: OnRay = False,
    as_json: Json = False,
) -> None:
    """Ranks labels for documents into Parquet: doc_id, label_ids, scores, best first, and blank: nothing is known.

    The best --k labels, whatever their scores; `retag` keeps those that the bundle's threshold lets pass.

    Example: raytagger tag models/frozen --documents docs.parquet --k 10 --output tags.parquet
    """
    from raytagger.settings import RetagRun, make_run
    from raytagger.stream.output import tag_documents

    asked = {"documents": documents, "labels": labels, "splits": split or []}
    with explained_errors(), shown_progress() as progress:
        # `--set` reaches source.*, cluster.* and storage.*, as in a run file.
        values = {"retag": asked, "source": {"fields": field or []}}
        run = make_run(values, RetagRun, with_ray(overrides, on_ray), "options")
        summary = tag_documents(bundle, run, output, k, progress)
    facts = {
        "output": output,
        "read": summary.read,
        "tagged": summary.tagged,
        "rejected": dict(summary.rejected),
        "cut": summary.cut,
        "blank": summary.blank,
        "seconds": summary.seconds,
        "documents_per_s": summary.rate_docs_s,
    }
    show_json(facts) if as_json else show(summary.line(output))


def evaluate(
    bundle: Bundle,
    documents: Documents,
    labels: Labels = "",
    split: Annotated[str, typer.Option(help="The split of the ranking metrics; default test.")] = "",
    zero_shot_split: ZeroShotSplits = None,
    group: Annotated[str, typer.Option(help="Bootstrap by this column, such as source.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many documents of a split; 0 for all.")] = 0,
    field: Fields = None,
    overrides: SetSource = None,
    allow_trained: Annotated[
        bool, typer.Option("--allow-trained", help="Although the bundle was trained on all of these documents.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Writes all figures to a file.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Writes a report to read in a browser.")] = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="A bundle to compare with, over the same labels; repeatable.")
    ] = None,
) -> None:
    """Measures a bundle on labelled documents.

    Example: raytagger evaluate models/ofde --documents docs.parquet --html report.html --beside models/frozen
    """
    from raytagger.compare import evaluate_beside
    from raytagger.errors import SettingsError
    from raytagger.evaluate import Asked
    from raytagger.settings import RetagRun, make_run
    from raytagger.store import Store, check_writable

    with explained_errors(), shown_progress() as progress:
        if beside and not html_file:
            raise SettingsError("--beside without --html", got=beside[0], remedy="Name a report's file by --html.")
        if json_file and json_file == html_file:
            raise SettingsError("--json and --html name one file", got=str(json_file), expected="two")
        bundles = [bundle, *(beside or ())]
        for file in filter(None, (json_file, html_file)):
            check_writable(Store(), str(file), apart_from=(documents, labels, *bundles))
        source = {"documents": documents, "fields": field or [], "columns": [group] if group else []}
        run = make_run({"source": source}, RetagRun, overrides or (), "options")
        splits = None if zero_shot_split is None else tuple(filter(None, zero_shot_split.split(",")))
        asked = Asked(split, splits, group, limit, allow_trained, details=html_file is not None)
        figures, page = evaluate_beside(bundles, labels, run.source, asked, progress, Store(run.storage))
    for line in figures["warnings"]:
        say(f"warning: {line}")
    for line in figure_lines(figures):
        show(line)
    written = [("all figures", json_file, json.dumps(figures, indent=1) + "\n"), ("report", html_file, page)]
    for what, file, text in written:
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            show(f"{what}: {file}")


def explain(
    bundle: Bundle,
    text: Annotated[str, typer.Option(help="The document's text.")],
    label: Annotated[
        list[str] | None,
        typer.Option(help="A label's id; repeatable. Default: the text's tags, or the best label."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tells why labels have their scores, for bundles of method xrlinear, blend and xml0.

    Example: raytagger explain models/xrlinear --text "A fast PDF viewer" --label works-with-format::pdf
    """
    from raytagger.bundle import load, named, read_texts
    from raytagger.errors import BundleError

    with explained_errors():
        tagger = load(bundle)
        explain_label = getattr(tagger, "explain", None)
        if not callable(explain_label):
            expected = "a kind that explains itself: tree, blend, xml0"
            raise BundleError("the bundle cannot explain itself", got=tagger.manifest["kind"], expected=expected)
        (text,) = read_texts(tagger.manifest, [text])
        found = tagger.tag([text])
        tags = tagger.keep(found)
        best = found.top(1) if tags.empty_B.all() else tags
        labels = label or [name for name, _ in named(best, tagger.labels)[0]]
        told: list[Any] = [explain_label(text, name) for name in labels]
    lines = "\n\n".join("\n".join(one.lines()) for one in told) or "blank: nothing of the text is known"
    show_json([asdict(one) for one in told]) if as_json else show(lines)
