"""`raytagger tags`: looking into the tag table."""

from __future__ import annotations

from typing import Annotated

import typer

from raytagger.cli.arguments import Json, Table
from raytagger.console import explained_errors, show, show_json
from raytagger.tables import table

tags_app = typer.Typer(no_args_is_help=True, help="The tag table.")


@tags_app.command("history")
def tags_history(uri: Table, as_json: Json = False) -> None:
    """Lists the runs, newest first.

    Example: raytagger tags history s3://lake/tags
    """
    from raytagger.store import Store
    from raytagger.store.tags import TagTable

    with explained_errors():
        commits = [commit for commit in TagTable(Store(), uri).there().history() if "run_id" in commit]
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
    if row["blank"]:
        show("blank: nothing of the document is known")
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
