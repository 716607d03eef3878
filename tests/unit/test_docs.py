"""The docs say what the code does."""

import dataclasses
import re

import pytest

from raytagger.settings import FitRun, RetagRun, ServeRun, find_run_file, read_run
from tests.conftest import ROOT

RUNS = {
    "blend.toml": FitRun,
    "xml0.toml": FitRun,
    "frozen.toml": FitRun,
    "ofde.toml": FitRun,
    "ofde-debtags.toml": FitRun,
    "ofde-eurlex57k.toml": FitRun,
    "ofde-amazoncat13k.toml": FitRun,
    "xrlinear.toml": FitRun,
    "embed-labels.toml": FitRun,
    "retag.toml": RetagRun,
    "serve.toml": ServeRun,
}


def keys_of(run):
    for part in dataclasses.fields(run):
        value = getattr(run(), part.name)
        if dataclasses.is_dataclass(value):
            yield from (f"{part.name}.{field.name}" for field in dataclasses.fields(value))


def test_every_setting_is_documented_and_nothing_else():
    documented = set(re.findall(r"^\| `(\w+\.\w+)`", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
    assert documented == {key for run in RUNS.values() for key in keys_of(run)}


@pytest.mark.parametrize("name", RUNS)
def test_the_shipped_run_files_are_valid(name):
    run = read_run(find_run_file(name), RUNS[name])
    assert run != RUNS[name]()


def test_the_readme_names_what_exists():
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\((\S+?)\)", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"make (\w+)", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
    assert "@@" not in text
