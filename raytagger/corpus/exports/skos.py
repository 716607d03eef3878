"""SKOS vocabularies as label sets: Turtle, RDF/XML, N-Triples and JSON-LD, parsed by rdflib.

A concept's URI is its `label_id`, its preferred label the `title`; alternative labels, definitions and scope notes
are the `text`; `skos:broader` gives the parents, and `owl:deprecated` retires.
"""

from __future__ import annotations

import io
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

from raytagger.corpus.compression import BUFFER_BYTES, strip_compression
from raytagger.corpus.rows import BadRow, RawChunk, Request, Rows, choose_columns, tabulate
from raytagger.errors import CorpusError

SKOS = "http://www.w3.org/2004/02/skos/core#"
SKOS_XL = "http://www.w3.org/2008/05/skos-xl#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
TYPE, CONCEPT, DEPRECATED = f"{RDF}type", f"{SKOS}Concept", "http://www.w3.org/2002/07/owl#deprecated"
# What is kept of a vocabulary. A label or note may be a node of its own, whose text stands below it.
LITERALS = {
    **{f"{SKOS}{name}": name for name in ("prefLabel", "altLabel", "definition", "scopeNote")},
    **{f"{SKOS_XL}{name}": name for name in ("prefLabel", "altLabel")},
    **dict.fromkeys((f"{SKOS_XL}literalForm", f"{RDF}value"), "content"),
}
BASE = "file:///"  # of relative URIs, which must not depend on where the file lies
BROADER, NARROWER = f"{SKOS}broader", f"{SKOS}narrower"
SYNTAXES = {
    ".ttl": "turtle",
    ".json": "json-ld",
    ".rdf": "xml",
    ".xml": "xml",
    ".owl": "xml",
    ".nt": "nt",
    ".jsonld": "json-ld",
}
NAMES = ("label_id", "title", "text", "parents", "status")

Literal = tuple[str, str]  # language in lower case, "" where there is none, and text


@dataclass
class _Vocabulary:
    """What is kept of the triples, in the order of the file. Memory is that of the texts kept."""

    concepts: dict[str, None] = field(default_factory=dict)
    literals: dict[str, dict[str, list[Literal]]] = field(default_factory=lambda: defaultdict(dict))
    nodes: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    parents: dict[str, list[str]] = field(default_factory=dict)
    deprecated: set[str] = field(default_factory=set)
    nameless: dict[str, None] = field(default_factory=dict)

    def add(self, subject: Any, predicate: Any, value: Any) -> None:
        """Keeps a triple of rdflib's terms, if it says something about a label."""
        name, about = str(predicate), str(subject)
        if name in LITERALS:
            if hasattr(value, "language"):
                found = ((value.language or "").lower(), str(value))
                self.literals[LITERALS[name]].setdefault(about, []).append(found)
            else:
                self.nodes[LITERALS[name]].setdefault(about, []).append(str(value))
        elif name == TYPE and str(value) == CONCEPT:
            (self.concepts if hasattr(subject, "defrag") else self.nameless)[about] = None
        elif name == BROADER:
            self.parents.setdefault(about, []).append(str(value))
        elif name == NARROWER:
            self.parents.setdefault(str(value), []).append(about)
        elif name == DEPRECATED and str(value).lower() in ("true", "1"):
            self.deprecated.add(about)

    def texts(self, concept: str, name: str) -> list[Literal]:
        """A concept's labels or notes of one kind, those that are nodes too."""
        found = list(self.literals[name].get(concept, ()))
        for node in self.nodes[name].get(concept, ()):
            found += self.literals["content"].get(node, ())
        return list(dict.fromkeys(found))


def read_skos(file: BinaryIO, request: Request) -> Iterator[RawChunk]:
    """Labels `label_id, title, text, parents, status` of every `skos:Concept`; one without a URI is a bad row.

    The title is the preferred label in `request.language`; where there is none, that without a language, then the
    first other language by its code. Alternative labels and notes are taken in the language of the title.

    Raises:
        CorpusError: documents are asked for, the file cannot be parsed, or it has no concept.
    """
    if "label_id" not in request.kinds:
        raise CorpusError(
            f"{request.uri} is a vocabulary and holds no documents",
            remedy="Name it as source.labels, or as --labels.",
        )
    vocabulary = _Vocabulary()
    _parse(file, request, vocabulary.add)
    if not vocabulary.concepts and not vocabulary.nameless:
        raise CorpusError(f"{request.uri} has no skos:Concept", expected="a SKOS vocabulary")
    yield from _chunks(vocabulary, request)


def _chunks(vocabulary: _Vocabulary, request: Request) -> Iterator[RawChunk]:
    columns = choose_columns(request.kinds, [dict.fromkeys(NAMES)])
    concepts, start = iter(vocabulary.concepts), 0
    while chunk := list(islice(concepts, request.rows)):
        values = [_label(vocabulary, concept, request.language.lower()) for concept in chunk]
        yield tabulate(Rows(start, values, list(range(start + 1, start + 1 + len(chunk))), []), columns, NAMES)
        start += len(chunk)
    if vocabulary.nameless:
        bad = [BadRow(start + 1 + row, "no_id", "a concept has no URI") for row in range(len(vocabulary.nameless))]
        yield tabulate(Rows(start, [], [], bad), columns, NAMES)


def _label(vocabulary: _Vocabulary, concept: str, language: str) -> dict[str, Any]:
    preferred = vocabulary.texts(concept, "prefLabel")
    chosen = _choose_language({found for found, _ in preferred}, language)
    titles = [text for found, text in preferred if found == chosen]

    def texts(name: str) -> list[str]:
        known = vocabulary.texts(concept, name)
        own = [text for found, text in known if found == (chosen or language)]
        return own or [text for found, text in known if not found]

    alternatives = [*titles[1:], *texts("altLabel")]
    parts = [", ".join(alternatives), *texts("definition"), *texts("scopeNote")]
    return {
        "label_id": concept,
        "title": titles[0] if titles else "",
        "text": ". ".join(part.strip().rstrip(".") for part in parts if part.strip()),
        "parents": list(dict.fromkeys(vocabulary.parents.get(concept, ()))),
        "status": "retired" if concept in vocabulary.deprecated else "active",
    }


def _choose_language(present: set[str], language: str) -> str:
    """The language itself, a variant of it (en-GB for en), none, else the first by its code."""
    variants = sorted(found for found in present if found.startswith(f"{language}-"))
    candidates = [found for found in (language, *variants, "") if found in present]
    return next(iter([*candidates, *sorted(present)]), language)


def _parse(file: BinaryIO, request: Request, add: Callable[[Any, Any, Any], None]) -> None:
    from rdflib.parser import InputSource

    syntax = _find_syntax(request)
    try:
        source = InputSource()
        stream: Any = io.BytesIO(_check_contexts(file.read(), request)) if syntax == "json-ld" else file
        source.setByteStream(io.BufferedReader(stream, BUFFER_BYTES))
        with _without_warnings():
            _open_graph(add).parse(source, publicID=BASE, format=syntax)
    except (CorpusError, OSError):
        raise
    except Exception as error:  # rdflib's parsers share no exception
        raise CorpusError(
            f"{request.uri} is not {syntax}: {_place(error)}",
            remedy="Mend the file, or write it anew as Turtle or N-Triples.",
        ) from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """The parsers warn about each odd URI, saying only that rdflib could not write it."""
    logger = logging.getLogger("rdflib.term")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _find_syntax(request: Request) -> str:
    bare = strip_compression(request.name).lower()
    found = next((syntax for ending, syntax in SYNTAXES.items() if bare.endswith(ending)), None)
    if found is None:
        raise CorpusError(f"the syntax of {request.uri} is unknown", expected=f"a name in {', '.join(SYNTAXES)}")
    return found


def _open_graph(add: Callable[[Any, Any, Any], None]) -> Any:
    """A graph that keeps nothing but hands on each triple, since rdflib's own takes a kilobyte for each."""
    from rdflib import Graph
    from rdflib.store import Store

    class Passing(Store):
        context_aware = True
        graph_aware = True

        def add(self, triple: Any, context: Any, quoted: bool = False) -> None:
            add(*triple)

        def bind(self, prefix: str, namespace: Any, override: bool = True) -> None:
            """Prefixes are the parser's own matter."""

    return Graph(store=Passing(), bind_namespaces="none")


def _check_contexts(data: bytes, request: Request) -> bytes:
    """JSON-LD whose contexts stand in the file: a parser would fetch others from the network."""
    waiting = [json.loads(data)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            context = value.get("@context")
            parts = context if isinstance(context, list) else [context]
            remote = [part for part in parts if isinstance(part, str)]
            remote += [part["@import"] for part in parts if isinstance(part, dict) and "@import" in part]
            if remote:
                raise CorpusError(
                    f"{request.uri} names a context that lies elsewhere",
                    got=remote[0],
                    expected="a @context that stands in the file",
                    remedy="Put the context into the file, or write the vocabulary as Turtle.",
                )
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return data


def _place(error: Exception) -> str:
    """Where a parser stopped and why, on one line."""
    why = str(getattr(error, "_why", "") or error) or type(error).__name__
    line = getattr(error, "lines", None)
    place = f"line {line + 1}: " if isinstance(line, int) else ""
    return f"{place}{' '.join(why.split())}"[:300]
