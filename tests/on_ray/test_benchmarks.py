"""The benchmarks that need Ray, in their quick form, on the small corpus."""

import importlib

import pytest
import torch

from tests.data_sets import infinite, numbers, write_data_sets

KEYS = {
    "small_work": {"break_even", "bundles", "settings"},
    "stream": {"ratio", "range", "turns", "documents", "bare", "ours"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_sets(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("name", KEYS)
def test_quick_run_without_rivals(name, data, ray_head, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("RAYTAGGER_CACHE", str(tmp_path_factory.getbasetemp() / "benchmarks"))  # no rival is there
    threads = torch.get_num_threads()
    try:
        figures = importlib.import_module(f"benchmarks.{name}").measure(data, quick=True)
    finally:
        torch.set_num_threads(threads)
    assert figures.keys() >= KEYS[name]
    assert numbers(figures)
    assert infinite(figures) == []
