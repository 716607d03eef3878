"""The documentation's figures are those of the benchmarks' results."""

import re

import pytest

from benchmarks.pages.fill import BLOCKS, MARKED, RESULTS, ROOT, documents, fill
from benchmarks.pages.tables import Results

DOCUMENTS = [str(page.relative_to(ROOT)) for page in documents()]
FIGURE = re.compile(r"(?<![\w.=-])\d+\.\d+(?![\w.])")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_hold_the_figures_of_the_results(name: str):
    text = (ROOT / name).read_text()
    assert fill(text, Results(RESULTS)) == text, "run `make results`"


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name.startswith("docs/results/")])
def test_results_have_no_figure_of_their_own(name: str):
    assert not FIGURE.findall(MARKED.sub("", (ROOT / name).read_text()))


def test_every_block_stands_in_a_document():
    assert {"README.md", *(f"docs/results/{name}.md" for name in ("quality", "speed", "memory"))} <= set(DOCUMENTS)
    marked = {found["name"] for name in DOCUMENTS for found in MARKED.finditer((ROOT / name).read_text())}
    assert {name for name in marked if not name.startswith("made: ")} == set(BLOCKS)


def test_a_changed_figure_changes_the_document():
    results = Results(RESULTS)
    before = fill("<!-- results: collapse -->\n<!-- end of results -->", results)
    results["collapse"]["curves"]["OF-DE λ=1, unseen left out"][-1]["ZSR@10"] = 0.123
    after = fill(before, results)
    assert "12.3" in after
    assert "12.3" not in before


def test_an_unknown_block_is_an_error():
    with pytest.raises(KeyError, match="no such block"):
        fill("<!-- results: no such block -->\n<!-- end of results -->", Results(RESULTS))
