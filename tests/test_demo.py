"""`make demo`, both ways: on the Debian archive, and where apt cannot give it."""

import os
import sys
from pathlib import Path

import pytest

from raytagger.corpus.debian import apt_available
from raytagger.store import Store
from raytagger.store.tags import TagTable
from tests.conftest import ROOT
from tests.processes import run

STAGES = ("corpus: ", "train: ", "tag: ", "report: ")
FIGURES = ("P@1", "nDCG@5", "PSP@5", "ZSR@10", "UR@1", "chance_ZSR@10")


def story_of(output, *arguments, **environment):
    job = str(ROOT / "jobs" / "demo.py")
    code, story, error = run([job, "--output", str(output), *arguments], **environment)
    assert code == 0, story + error
    for stage in STAGES:
        assert f"\n{stage}" in story
    for name in FIGURES:
        assert f"  {name} " in story
    assert f"serve.bundle={output}/models/blend" in story
    page = (output / "report.html").read_text()
    assert "Can the probabilities be believed?" in page
    assert "frozen" in page
    return story


def tagged_in(output):
    table = TagTable(Store(), str(output / "tags"))
    delta = table.open()
    assert delta is not None
    return sum(len(part) for part in table.read(delta))


def test_without_apt_it_says_so_and_uses_the_small_corpus(tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "python").symlink_to(sys.executable)
    (bare / "bash").symlink_to("/bin/bash")  # Ray starts workers through it
    story = story_of(tmp_path / "demo", PATH=str(bare))
    assert "The Debian corpus cannot be built here" in story
    assert "apt" in story
    assert "small corpus: 470 documents, 60 labels" in story
    assert tagged_in(tmp_path / "demo") == 42


@pytest.mark.skipif(not apt_available(), reason="this machine has no apt; the other path is tested above")
def test_on_the_debian_archive(tmp_path):
    cache = os.environ.get("RAYTAGGER_CACHE", str(Path("~/.cache/raytagger").expanduser()))
    story = story_of(tmp_path / "demo", "--sample", "30", RAYTAGGER_CACHE=cache)
    assert "Debian packages: " in story
    assert "cannot be built" not in story
    assert tagged_in(tmp_path / "demo") == 30
    assert story.count("::") > 10
