"""The report in a real browser: light and dark, wide and phone."""

import shutil

import pytest

from raytagger.compare import evaluate_beside
from raytagger.corpus.output import SMALL
from raytagger.evaluate import Asked
from raytagger.progress import silent
from raytagger.settings import SourceSettings

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine; apt-get install chromium")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_fits_and_says_nothing_in_the_console(bundle, tmp_path, width, scheme):
    from playwright.sync_api import sync_playwright

    _, page_text = evaluate_beside(
        [bundle], "", SourceSettings(str(SMALL / "docs.jsonl")), Asked(details=True), silent
    )
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
        assert page.get_by_role("heading", name="Beside other taggers").is_visible()
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (light == "rgb(255, 255, 255)") is (scheme == "light")
        browser.close()
    assert said == []
    assert asked == [file.as_uri()]
