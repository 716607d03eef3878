"""The command line: parse, import late, one call."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from raytagger.console import explained_errors, say, show, show_json, shown_progress
from raytagger.tables import figure_lines, table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Tags large corpora from large, growing label sets.\n\nExample: raytagger fit jobs/frozen.toml",
)
corpus_app = typer.Typer(no_args_is_help=True, help="Corpora that can be built on this machine.")
tags_app = typer.Typer(no_args_is_help=True, help="The tag table.")
labels_app = typer.Typer(no_args_is_help=True, help="Label sets and their versions.")
app.add_typer(corpus_app, name="corpus")
app.add_typer(tags_app, name="tags")
app.add_typer(labels_app, name="labels")
import_app = typer.Typer(no_args_is_help=True, help="Models of other programs as bundles.")
app.add_typer(import_app, name="import")

RunFile = Annotated[str, typer.Argument(metavar="RUN.toml", help="A run file, or the name of a shipped one.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="a.b=v", help="Overrides a key of the run file.")]
Json = Annotated[bool, typer.Option("--json", help="Prints the result as JSON.")]
Bundle = Annotated[str, typer.Argument(metavar="BUNDLE", help="OUT or OUT/<version>, local or s3://.")]
Documents = Annotated[str, typer.Option(help="File, folder or s3:// prefix.")]
Labels = Annotated[str, typer.Option(help="A newer label set than the bundle's.")]
Fields = Annotated[list[str] | None, typer.Option("--field", help="A column of the text; may be repeated.")]
Table = Annotated[str, typer.Argument(metavar="TABLE", help="A tag table, local or s3://.")]


@app.command()
def fit(run_file: RunFile, overrides: Set = None, as_json: Json = False) -> None:
    """Trains (or freezes) a tagger; the bundle lands at output.bundle.

    Example: raytagger fit jobs/frozen.toml --set output.bundle=s3://models/frozen
    """
    from raytagger.recipes.fit import fit as fit_run
    from raytagger.settings import FitRun, read_run

    with explained_errors(), shown_progress() as progress:
        fitted = fit_run(read_run(run_file, FitRun, overrides or ()), progress, say)
    for line in fitted.report.lines():
        say(line)
    show_json(fitted.as_dict()) if as_json else show(fitted.line())


@app.command()
def tag(
    bundle: Bundle,
    documents: Documents,
    output: Annotated[str, typer.Option(help="A file that ends in .parquet, or a directory.")],
    labels: Labels = "",
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be repeated.")] = None,
    k: Annotated[int, typer.Option(min=1, help="Labels a document.")] = 100,
    field: Fields = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Tags documents into Parquet: doc_id, label_ids, scores, best first.

    Example: raytagger tag models/frozen --documents docs.parquet --k 10 --output tags.parquet
    """
    from raytagger.settings import RetagRun, make_run
    from raytagger.stream.output import tag_documents

    asked = {"documents": documents, "labels": labels, "splits": split or []}
    with explained_errors(), shown_progress() as progress:
        # `--set` reaches source.*, cluster.* and storage.*, as in a run file.
        values = {"retag": asked, "source": {"fields": field or []}}
        run = make_run(values, RetagRun, overrides or (), "options")
        summary = tag_documents(bundle, run, output, k, progress)
    facts = {
        "output": output,
        "read": summary.read,
        "tagged": summary.tagged,
        "rejected": dict(summary.rejected),
        "cut": summary.cut,
        "seconds": summary.seconds,
        "documents_per_s": summary.rate_docs_s,
    }
    show_json(facts) if as_json else show(summary.line(output))


@app.command()
def evaluate(
    bundle: Bundle,
    documents: Documents,
    labels: Labels = "",
    split: Annotated[str, typer.Option(help="The split of the ranking metrics; default test.")] = "",
    zero_shot_split: Annotated[str, typer.Option(help="Splits of ZSR and UR, by commas.")] = "test,zeroshot",
    group: Annotated[str, typer.Option(help="Bootstrap by this column, such as source.")] = "",
    limit: Annotated[int, typer.Option(help="At most so many documents of a split; 0 for all.")] = 0,
    field: Fields = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Writes all figures to a file.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Writes a report to read in a browser.")] = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="A bundle to stand beside in the report; repeatable.")
    ] = None,
) -> None:
    """Measures a bundle on labelled documents.

    Example: raytagger evaluate models/ofde --documents docs.parquet --html report.html --beside models/frozen
    """
    from raytagger.compare import evaluate_beside
    from raytagger.evaluate import Asked
    from raytagger.settings import SourceSettings

    with explained_errors(), shown_progress() as progress:
        columns = (group,) if group else ()
        source = SourceSettings(documents=documents, fields=tuple(field or ()), columns=columns)
        splits = tuple(filter(None, zero_shot_split.split(",")))
        asked = Asked(split, splits, group, limit, details=html_file is not None)
        figures, page = evaluate_beside([bundle, *(beside or ())], labels, source, asked, progress)
    for line in figure_lines(figures):
        show(line)
    written = [("all figures", json_file, json.dumps(figures, indent=1) + "\n"), ("report", html_file, page)]
    for what, file, text in written:
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            show(f"{what}: {file}")


@app.command()
def explain(
    bundle: Bundle,
    text: Annotated[str, typer.Option(help="The document's text.")],
    label: Annotated[
        list[str] | None, typer.Option(help="A label's id; repeatable. Default: the best ones.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tells why labels have their scores, for bundles of method xrlinear.

    Example: raytagger explain models/xrlinear --text "A fast PDF viewer" --label works-with-format::pdf
    """
    from raytagger.bundle import load, named
    from raytagger.bundle.tree import TreeTagger
    from raytagger.errors import BundleError

    with explained_errors():
        tagger = load(bundle)
        if not isinstance(tagger, TreeTagger):
            raise BundleError("only bundles of kind tree explain themselves", got=tagger.manifest["kind"])
        labels = label or [name for name, _ in named(tagger.tag([text], tagger.keep_k), tagger.labels)[0]]
        found = [tagger.explain(text, name) for name in labels]
    told = "\n\n".join("\n".join(one.lines()) for one in found)
    show_json([asdict(one) for one in found]) if as_json else show(told)


@app.command()
def retag(run_file: RunFile, overrides: Set = None, as_json: Json = False) -> None:
    """Tags a whole corpus into the tag table, in one commit.

    Example: ray job submit --working-dir . -- python jobs/retag.py jobs/retag.toml
    """
    from raytagger.retag.run import retag as retag_run
    from raytagger.settings import RetagRun, read_run

    with explained_errors(), shown_progress() as progress:
        night = retag_run(read_run(run_file, RetagRun, overrides or ()), progress)
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
    sample: Annotated[int, typer.Option(help="At most so many documents of each split; 0 for all.")] = 0,
) -> None:
    """Builds a corpus, freezes and trains taggers, tags what nobody has tagged, and writes a report.

    Example: raytagger demo --output demo
    """
    from raytagger.demo import run_demo

    with explained_errors(), shown_progress() as progress:
        run_demo(output, sample, show, progress)


@corpus_app.command("debian")
def corpus_debian(
    output: Annotated[str, typer.Option(help="A folder for docs.parquet and labels.parquet.")],
    minimum_tagged: Annotated[int, typer.Option(help="Fails where the archive has fewer tagged packages.")] = 5000,
    as_json: Json = False,
) -> None:
    """Builds the Debian corpus from the archive index that this machine's apt knows; no root needed.

    Example: raytagger corpus debian --output corpora/debian
    """
    from raytagger.corpus.debian import build_debian
    from raytagger.corpus.output import write_corpus
    from raytagger.encoders.locate import cache_folder
    from raytagger.store import Store

    with explained_errors():
        corpus = build_debian(cache_folder() / "apt", minimum_tagged=minimum_tagged, progress=say)
        write_corpus(Store(), output, corpus.documents, corpus.labels, corpus.source)
    line = f"{len(corpus.documents):,} documents, {len(corpus.labels):,} labels: {output}"
    show_json({"output": output, **corpus.source}) if as_json else show(line)


@corpus_app.command("small")
def corpus_small(
    output: Annotated[str, typer.Option(help="A folder for docs.parquet and labels.parquet.")],
) -> None:
    """Writes the small corpus that the package carries.

    Example: raytagger corpus small --output corpora/small
    """
    from raytagger.corpus.output import small_corpus, write_corpus
    from raytagger.store import Store

    with explained_errors():
        documents, labels, source = small_corpus(Store())
        write_corpus(Store(), output, documents, labels, source)
    show(f"{len(documents):,} documents, {len(labels):,} labels: {output}")


@tags_app.command("history")
def tags_history(uri: Table, as_json: Json = False) -> None:
    """Lists the runs, newest first.

    Example: raytagger tags history s3://lake/tags
    """
    from raytagger.store import Store
    from raytagger.store.tags import TagTable

    with explained_errors():
        commits = [commit for commit in TagTable(Store(), uri).history() if "run_id" in commit]
    names = ["version", "run_id", "bundle_id", "label_set_id", "documents_read", "documents_quarantined"]
    rows = [[commit.get(name, "") for name in names] for commit in commits]
    show_json(commits) if as_json else show(table(rows, names))


@tags_app.command("show")
def tags_show(uri: Table, doc_id: Annotated[str, typer.Argument(metavar="DOC")], as_json: Json = False) -> None:
    """Shows one document's tags.

    Example: raytagger tags show s3://lake/tags vlc
    """
    from raytagger.store import Store
    from raytagger.store.tags import TagTable

    with explained_errors():
        row = TagTable(Store(), uri).find(doc_id)
    if as_json:
        show_json(row)
        return
    tags = zip(row["label_ids"], row["scores"], strict=True)
    show(table([[label, f"{score:.3f}"] for label, score in tags], ["label", "score"]))
    show(f"{row['outcome']}, bundle {row['bundle_id']}, run {row['run_id']}, {row['tagged_at']:%Y-%m-%d %H:%M}")


@tags_app.command("rejects")
def tags_rejects(uri: Table, as_json: Json = False) -> None:
    """Lists the documents that the newest run could not tag.

    Example: raytagger tags rejects s3://lake/tags
    """
    from raytagger.store import Store
    from raytagger.store.tags import TagTable

    with explained_errors():
        rows = TagTable(Store(), uri).quarantine().to_pylist()
    names = ["doc_id", "stage", "reason", "error"]
    cells = [[row[name] for name in names] for row in rows]
    show_json(rows) if as_json else show(table(cells, ["document", *names[1:]]))


@labels_app.command("embed")
def labels_embed(run_file: RunFile, overrides: Set = None, as_json: Json = False) -> None:
    """Embeds the labels that the bank does not know, over all GPUs of a cluster; `fit` then finds them there.

    Example: raytagger labels embed jobs/embed-labels.toml --set labels.bank=s3://models/bank
    """
    from raytagger.settings import FitRun, read_run
    from raytagger.stream.embed import fill_bank

    with explained_errors(), shown_progress() as progress:
        filled = fill_bank(read_run(run_file, FitRun, overrides or ()), progress, say)
    show_json(filled.as_dict()) if as_json else show(filled.line())


@labels_app.command("diff")
def labels_diff(old: str, new: str, as_json: Json = False) -> None:
    """Lists the edits between two label files, and what each makes necessary.

    Example: raytagger labels diff labels-may.parquet labels-june.parquet
    """
    from raytagger.corpus import read_labels
    from raytagger.corpus.edits import diff
    from raytagger.store import Store

    with explained_errors():
        store = Store()
        edits = diff(read_labels(store, old), read_labels(store, new))
    if as_json:
        show_json([edit.to_dict() for edit in edits])
        return
    for edit in edits:
        show(f"{edit}  # {edit.recompute}")


@labels_app.command("apply")
def labels_apply(
    edits_file: Annotated[str, typer.Argument(metavar="EDITS", help="JSONL: an edit a line.")],
    labels: Annotated[str, typer.Argument(metavar="LABELS")],
    output: Annotated[str, typer.Option(help="Where the new version goes.")],
) -> None:
    """Applies edits to a label file.

    Example: raytagger labels apply edits.jsonl labels.parquet --output labels-new.parquet
    """
    from raytagger.corpus import read_labels
    from raytagger.corpus.edits import apply, read_edits
    from raytagger.corpus.output import write_table
    from raytagger.store import Store

    with explained_errors():
        store = Store()
        newer = apply(read_labels(store, labels), read_edits(store, edits_file))
        write_table(store, output, newer.to_table())
    show(f"{len(newer):,} labels, version {newer.fingerprint}: {output}")


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


def main(arguments: list[str] | None = None) -> None:
    """The entry point of the console script and of the jobs."""
    app(arguments, prog_name="raytagger")


if __name__ == "__main__":
    main()
