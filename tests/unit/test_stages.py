"""What a fit makes is known by content: nothing is made twice because it is named in another way."""

import shutil

import pytest

from raytagger.corpus.output import SMALL
from raytagger.recipes.fit import fit
from raytagger.settings import SourceSettings


@pytest.mark.parametrize("method", ["frozen", "xrlinear"])
def test_data_named_by_a_relative_and_by_an_absolute_path_are_the_same(small_run, tmp_path, monkeypatch, method):
    for name in ("docs", "labels"):
        shutil.copy(SMALL / f"{name}.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)
    versions, said = set(), list[str]()
    for folder in ("", f"{tmp_path}/"):
        source = SourceSettings(documents=f"{folder}docs.jsonl", labels=f"{folder}labels.jsonl")
        said.clear()
        versions.add(fit(small_run(method=method, source=source), say=said.append).version)
    assert len(versions) == 1
    assert method == "frozen" or any("made already" in line for line in said)
