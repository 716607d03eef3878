"""Stack Exchange dumps: questions of `Posts.xml` as documents, `Tags.xml` as their labels.

A dump has one `<row …/>` a line: a damaged line is one bad row, and a file of any size passes by line by line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import chain, islice
from typing import Any, BinaryIO
from xml.parsers import expat

from raytagger.corpus.compression import COMPRESSIONS, open_unpacked
from raytagger.corpus.jsonl import HEAD_LINES, iterate_lines
from raytagger.corpus.rows import BadRow, RawChunk, Request, Rows, choose_columns, chunked, tabulate
from raytagger.errors import CorpusError
from raytagger.store import join, parent

QUESTION, EXCERPT = "1", "4"  # PostTypeId
TYPE = re.compile(rb'\sPostTypeId="(\d+)"')  # a quote within a value is written &quot;
ROOTS = re.compile(rb"<(/?)(posts|tags)>")
DECLARED = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)
BLOCKS = {"p", "br", "div", "pre", "li", "ul", "ol", "tr", "td", "h1", "h2", "h3", "h4", "blockquote", "hr"}
DOCUMENT = ("doc_id", "title", "body", "text", "labels")
LABEL = ("label_id", "title", "text")


def read_stackexchange(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Questions, `doc_id, title, body, text, labels` beside the row's own attributes; or tags, asked for as labels.

    Body and excerpts are HTML in the dump and plain text here; `text` is title and body. Answers and the tags' own
    pages are no documents. A tag's text is its excerpt, if `Posts.xml` lies beside `Tags.xml`.

    Raises:
        CorpusError: the file is not `<posts>` or, for labels, `<tags>`; it is cut off; it declares a document type,
            by which entities could grow without end.
    """
    wanted = "tags" if "label_id" in request.kinds else "posts"
    lines = _rows(iterate_lines(file, request.uri), request, wanted)
    known = _find_excerpts(request) if wanted == "tags" else {}
    head = list(islice(lines, HEAD_LINES))
    values = _parse(0, head, known, wanted).values
    names = tuple(dict.fromkeys(chain(DOCUMENT if wanted == "posts" else LABEL, *values)))
    columns = choose_columns(request.choose(names), [*values, dict.fromkeys(names)])
    for start, chunk in chunked(chain(head, lines), request.rows):
        yield tabulate(_parse(start, chunk, known, wanted), columns, names)


def to_text(html: str) -> str:
    """The text of a piece of HTML, a line a block; code stays, scripts and styles go."""
    stripper = _Stripper()
    stripper.feed(html)
    stripper.close()
    lines = ("".join(stripper.parts)).splitlines()
    return "\n".join(line for line in map(str.strip, lines) if line)


class _Stripper(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("script", "style")
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in ("script", "style")))
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def _rows(lines: Iterator[bytes], request: Request, wanted: str) -> Iterator[bytes]:
    """The lines between the root's tags, with blank ones for those before, so that lines count as in the file."""
    opened = closed = False
    for line in lines:
        if not opened and DECLARED.search(line):
            raise CorpusError(f"{request.uri} declares a document type", expected="a dump, which has none")
        root = ROOTS.fullmatch(line.strip()) if not closed else None
        if root and not opened:
            if root[2].decode() != wanted:
                file = "Tags.xml" if wanted == "tags" else "Posts.xml"
                raise CorpusError(f"{request.uri} holds <{root[2].decode()}>", expected=f"<{wanted}>, as in {file}")
            opened = True
        elif root and root[1]:
            closed = True
        yield line if opened and not root else b""
    if not opened:
        raise CorpusError(f"{request.uri} is no dump of Stack Exchange", expected=f"<{wanted}> and a row a line")
    if not closed:
        raise CorpusError(f"{request.uri} is cut off", expected=f"</{wanted}> at its end")


def _parse(start: int, lines: list[bytes], known: dict[str, str], wanted: str) -> Rows:
    rows = Rows(start, [], [], [])
    for position, line in enumerate(lines, start + 1):
        kind = TYPE.search(line)
        if not line.strip() or (wanted == "posts" and kind and kind[1].decode() != QUESTION):
            continue
        try:
            found = _parse_row(line)
            value = _to_document(found) if wanted == "posts" else _to_label(found, known)
        except UnicodeDecodeError as error:
            rows.bad.append(BadRow(position, "not_utf8", str(error)))
        except (expat.ExpatError, ValueError) as error:
            rows.bad.append(BadRow(position, "malformed", str(error)[:200]))
        else:
            rows.values.append(value)
            rows.positions.append(position)
    return rows


def _parse_row(line: bytes) -> dict[str, str]:
    """The attributes of a `<row …/>`. Only predefined entities are known: nothing declares others."""
    found: list[dict[str, str]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name != "row":
            raise ValueError(f"<{name}> is no row")
        found.append(attributes)

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.Parse(line.decode("utf-8").strip(), True)
    return found[0]


def _to_document(row: dict[str, str]) -> dict[str, Any]:
    if "PostTypeId" not in row:
        raise ValueError("the row has no PostTypeId")
    title, body = row.get("Title", ""), to_text(row.get("Body", ""))
    text = ". ".join(part for part in (title, body) if part.strip())
    known = {"doc_id": row.get("Id"), "title": title, "body": body, "text": text}
    return {**row, **known, "labels": _split_tags(row.get("Tags", ""))}


def _split_tags(tags: str) -> list[str]:
    """`<a><b>`, or `|a|b|` as dumps have it since 2024."""
    if tags.startswith("<"):
        return [tag for tag in tags.strip("<>").split("><") if tag]
    return [tag for tag in tags.split("|") if tag]


def _to_label(row: dict[str, str], excerpts: dict[str, str]) -> dict[str, Any]:
    name = row.get("TagName")
    return {"label_id": name, "title": name, "text": excerpts.get(row.get("ExcerptPostId", ""), "")}


def _find_excerpts(request: Request) -> dict[str, str]:
    """Excerpts by the id of their post, from the `Posts.xml` beside; none where it is absent."""
    candidates = [join(parent(request.uri), f"Posts.xml{ending}") for ending in ("", *COMPRESSIONS)]
    uri = next((uri for uri in candidates if request.store.exists(uri)), None)
    if uri is None:
        return {}
    excerpts: dict[str, str] = {}
    with open_unpacked(request.store, uri) as file:
        for line in iterate_lines(file, request.uri):
            kind = TYPE.search(line)
            if kind and kind[1].decode() == EXCERPT:
                try:
                    row = _parse_row(line)
                except (expat.ExpatError, ValueError):
                    continue  # a damaged line is a reject of the documents, and costs a label its excerpt
                excerpts[row.get("Id", "")] = to_text(row.get("Body", ""))
    return excerpts
