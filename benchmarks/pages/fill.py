"""Puts figures where documents mark their places."""

import re
from pathlib import Path

from benchmarks.pages import highlights, quality, quality_linear, quality_other, speed
from benchmarks.pages.tables import Block, Results, made

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- results: (?P<name>[^>]+?) -->\n).*?(<!-- end of results -->)", re.DOTALL)
PAGES = (highlights, quality, quality_linear, quality_other, speed)
BLOCKS: dict[str, Block] = {name: block for page in PAGES for name, block in page.BLOCKS.items()}


def documents() -> list[Path]:
    """README and the pages of docs/ that have marks."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if MARKED.search(page.read_text())]


def fill(text: str, results: Results) -> str:
    """A document with every block as the results have it.

    Args:
        text: Markdown.
        results: of the benchmarks.

    Raises:
        KeyError: no block has that name, or a result lacks what the block shows.
    """

    def filled(found: re.Match[str]) -> str:
        return f"{found[1]}{block(found['name'], results)}\n{found[3]}"

    return MARKED.sub(filled, text)


def block(name: str, results: Results) -> str:
    """What a mark stands for; `made: A, B` names when and how benchmarks A and B were run."""
    kind, _, names = name.partition(": ")
    return made(names.split(", "), results) if kind == "made" else BLOCKS[name](results)


def write_pages() -> list[str]:
    """Fills all documents; the names of those that have changed."""
    changed, results = [], Results(RESULTS)
    for page in documents():
        text = page.read_text()
        filled = fill(text, results)
        if filled != text:
            page.write_text(filled)
            changed.append(str(page.relative_to(ROOT)))
    return changed
