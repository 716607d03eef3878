"""`raytagger corpus`: corpora that can be built here or converted."""

from __future__ import annotations

from typing import Annotated

import typer

from raytagger.cli.arguments import Json, Set
from raytagger.console import explained_errors, say, show, show_json, shown_progress

corpus_app = typer.Typer(no_args_is_help=True, help="Corpora: built on this machine, or read from other formats.")


@corpus_app.command("debian")
def corpus_debian(
    output: Annotated[str, typer.Option(help="A folder for docs.parquet and labels.parquet.")],
    minimum_tagged: Annotated[int, typer.Option(help="Fails where the archive has fewer tagged packages.")] = 5000,
    as_json: Json = False,
) -> None:
    """Builds the Debian corpus from the archive index that this machine's apt knows; no root needed.

    Example: raytagger corpus debian --output corpora/debian
    """
    from raytagger.cache import cache_folder
    from raytagger.corpus.debian import build_debian
    from raytagger.corpus.output import write_corpus
    from raytagger.store import Store, check_writable

    with explained_errors():
        check_writable(Store(), output, folder=True)
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
    from raytagger.store import Store, check_writable

    with explained_errors():
        check_writable(Store(), output, folder=True)
        documents, labels, source = small_corpus(Store())
        write_corpus(Store(), output, documents, labels, source)
    show(f"{len(documents):,} documents, {len(labels):,} labels: {output}")


@corpus_app.command("convert")
def corpus_convert(
    documents: Annotated[str, typer.Argument(metavar="INPUT", help="Documents or a vocabulary, local or s3://.")],
    output: Annotated[str, typer.Option(help="A folder for docs.parquet, docs.rejects.parquet, labels.parquet.")],
    format_name: Annotated[str, typer.Option("--format", help="Where the files' ending does not tell it.")] = "",
    labels: Annotated[str, typer.Option(help="A label file or vocabulary, which is converted too.")] = "",
    label_format: Annotated[str, typer.Option(help="Its format where the ending does not tell it.")] = "",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Writes documents and labels of any format as Parquet, and reports what is odd about them.

    Example: raytagger corpus convert Posts.xml --labels Tags.xml --output corpora/cooking
    """
    from raytagger.corpus.convert import convert
    from raytagger.settings import FitRun, make_run
    from raytagger.store import Store

    asked = {"documents": documents, "format": format_name, "labels": labels, "label_format": label_format}
    with explained_errors(), shown_progress() as progress:
        # `--set` reaches source.* and storage.*, as in a run file.
        run = make_run({"source": asked}, FitRun, overrides or (), "options")
        done = convert(Store(run.storage), run.source, output, progress)
    for line in done.lines():
        say(line)
    show_json(done.as_dict()) if as_json else show(done.line())
