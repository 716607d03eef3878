"""The report in a real browser: light and dark, wide and phone."""

import shutil

import pytest

from raytagger.compare import evaluate_beside
from raytagger.corpus.output import SMALL
from raytagger.evaluate import Asked, gather
from raytagger.metrics import Ranked
from raytagger.progress import silent
from raytagger.report import Subject, write_page
from raytagger.settings import SourceSettings
from raytagger.store import Store
from tests.calibrated import drawn_documents, knowing_tagger

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine; apt-get install chromium")
SCREENS = pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])


@pytest.fixture
def visit(tmp_path):
    """Opens a page and looks at what every report must keep to; gives back a function."""
    from playwright.sync_api import sync_playwright

    def look(page_text, width, scheme, headings):
        file = tmp_path / "report.html"
        file.write_text(page_text, encoding="utf-8")
        said, asked = [], []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(file.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.get_by_role("heading", level=1).is_visible()
            for heading in headings:
                assert page.get_by_role("heading", name=heading).is_visible()
            light = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (light == "rgb(255, 255, 255)") is (scheme == "light")
            words = page.locator("figure > svg text")
            sizes = words.evaluate_all("words => words.map(word => word.getBoundingClientRect().height)")
            browser.close()
        assert said == []
        assert asked == [file.as_uri()]
        return sizes

    return look


@SCREENS
def test_the_page_fits_and_says_nothing_in_the_console(bundle, visit, width, scheme):
    source = SourceSettings(str(SMALL / "docs.jsonl"))
    _, page_text = evaluate_beside([bundle], "", source, Asked(details=True), silent)
    visit(page_text, width, scheme, ["Beside other taggers"])


@SCREENS
def test_the_page_of_a_calibrated_tagger_of_many_members_fits_too(tmp_path, visit, width, scheme):
    tagger = knowing_tagger(600)
    drawn_documents(tagger, tmp_path / "docs.jsonl")
    member = {
        "name": "a rather long name of a member",
        "bundle": f"s3://{'long/' * 30}",
        "documents_per_s": 12345.6,
    }
    tagger = tagger.saying(tagger.score_NL, members=[member], thresholds={"value": 0.3, "mode": "macro_f1"})
    asked = Asked(details=True)
    found = gather(tagger, Store(), SourceSettings(str(tmp_path / "docs.jsonl")), asked)
    subject = Subject(
        "calibrated",
        tmp_path,
        tagger.manifest,
        tagger.labels,
        tagger.train_count_L,
        found.unseen_L,
        found.summary(asked),
        Ranked.concatenate(found.ranked),
        found.examples,
    )
    headings = ["Can the probabilities be believed?", "What each member costs", "Which tags are kept"]
    sizes = visit(write_page(subject), width, scheme, headings)
    assert len(sizes) > 3 * 12
    assert min(sizes) >= 11  # words in the charts can be read on a phone
