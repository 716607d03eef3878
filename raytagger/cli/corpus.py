"""`raytagger corpus`: corpora that can be built here."""

from __future__ import annotations

from typing import Annotated

import typer

from raytagger.cli.arguments import Json
from raytagger.console import explained_errors, say, show, show_json

corpus_app = typer.Typer(no_args_is_help=True, help="Corpora that can be built on this machine.")


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
