"""Every benchmark is started, in its quick form, on the small corpus; those that need Ray in tests/on_ray."""

import importlib

import numpy as np
import pytest
import torch

from benchmarks import xrlinear_grids
from benchmarks.__main__ import NAMES
from benchmarks.blend_hybrid import BIASES, choose_bias
from benchmarks.kept import OURS, kept, training_code
from benchmarks.rival import Rival
from raytagger.bundle import load
from raytagger.evaluate import Asked, gather
from raytagger.recipes.fit import fit
from raytagger.settings import FitRun, OutputSettings, SearchSettings, SourceSettings
from raytagger.store import Store
from tests.data_sets import infinite, numbers, write_data_sets
from tests.on_ray.test_benchmarks import KEYS as ON_RAY

pytestmark = pytest.mark.slow

KEYS = {
    "beam": {"docs_per_cpu_s_20k", "size_mb_20k", "open_ms_20k", "left_out"},
    "beam_dense": {"docs_per_cpu_s_20k", "left_out"},
    "beam_single": {"p50_us_20k", "p10_us_20k", "left_out"},
    "blend": {"nDCG@5", "ZSR@10", "UR@1", "spread", "debtags"},
    "cluster_labels": {"rows", "peak_gb", "within_limit", "left_out"},
    "collapse": {"regime", "curves"},
    "dense_index": {"encode_us", "rows", "crossover"},
    "frozen": {"rows"},
    "growth": {"rows", "trained", "crossover_labels", "tree_growth", "left_out"},
    "label_doctor": {"sets", "effects"},
    "large_labels": {"stages_s", "labels", "peak_mb", "nDCG@5", "ZSR@10"},
    "ofde": {"nDCG@5", "ZSR@10", "UR@1", "rows", "training", "front", "paired"},
    "projection": {"curves"},
    "ranker": {"cpu_s", "quality", "left_out"},
    "stream_memory": {"rows", "growth"},
    "subsets": {"ratio", "equal", "rows", "hardest"},
    "switches": {"rows", "steps"},
    "text_to_tags": {"rate_docs_cpu_s", "p50_us", "P@1", "left_out"},
    "tfidf": {"ratio_sklearn", "rate_docs_cpu_s", "fit_cpu_s", "apart_from_sklearn", "left_out"},
    "train_step": {"ratio_50k_labels", "step_cpu_s", "left_out"},
    "tree_memory": {"pss_over_rss", "open_ms", "compilation", "imports", "left_out"},
    "xml0": {"debtags"},
    "xrlinear": {"nDCG@5", "PSP@5", "debtags", "debian_seealso", "gnd_tibcore"},
}
RIVALS = {"PECOS", "Omikuji", "napkinXC", "sentence-transformers"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_sets(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """No rival is there, and nothing is kept from another run; PyTorch's threads are left as they were."""
    monkeypatch.setenv("RAYTAGGER_CACHE", str(tmp_path_factory.getbasetemp() / "benchmarks"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_every_benchmark_is_started_by_a_test():
    assert {*KEYS, *ON_RAY} == set(NAMES)


@pytest.mark.parametrize("name", KEYS)
def test_quick_run_without_rivals(name, data):
    figures = importlib.import_module(f"benchmarks.{name}").measure(data, quick=True)
    assert figures.keys() >= KEYS[name]
    assert numbers(figures)
    assert infinite(figures) == []
    assert set(figures.get("left_out", {})) <= RIVALS
    assert figures.get("left_out", {"": ""}), "a rival that is not installed is named"


def test_rival_with_our_answers_has_our_figures(data, tmp_path):
    folder = data / "debtags"
    source = SourceSettings(str(folder / "docs.parquet"), str(folder / "labels.parquet"))
    run = FitRun(
        method="xrlinear", source=source, search=SearchSettings(index="tree"), output=OutputSettings(str(tmp_path))
    )
    fit(run)
    ours = load(str(tmp_path))
    evaluation = gather(ours, Store(), source, Asked(zero_shot_splits=()))
    texts = evaluation_texts(source)
    features = ours.encode(texts)
    rival = Rival(ours, texts, ours.search(features, 100))
    theirs = gather(rival, Store(), source, Asked(zero_shot_splits=()))
    assert np.array_equal(theirs.ranking.joined("nDCG@5"), evaluation.ranking.joined("nDCG@5"))


def evaluation_texts(source):
    import pyarrow.parquet as pq

    rows = pq.read_table(source.documents).to_pylist()
    return [row["text"] for row in rows if row["split"] == "test"]


def test_bias_is_the_highest_that_keeps_what_the_hybrid_has_on_validation():
    falling = np.linspace(0.9, 0.1, len(BIASES)).tolist()
    assert choose_bias(falling, falling[7]) == BIASES[7]
    assert choose_bias(falling, 1.0) == BIASES[0]


def test_code_of_training_is_what_a_recipe_imports():
    names = {file.relative_to(OURS).as_posix() for file in training_code()}
    assert {"recipes/ofde.py", "recipes/prepare.py", "fit/loop.py", "objectives/losses.py"} <= names
    assert not {"fit/ranker.py", "recipes/blend.py", "recipes/xrlinear.py"} & names


def test_every_row_of_xrlinear_has_a_grid_of_which_the_first_best_point_is_taken():
    ours = [grid for rows in xrlinear_grids.ROWS.values() for grid in rows.values()]
    grids = [*ours, *xrlinear_grids.RIVALS.values(), xrlinear_grids.PECOS]
    assert all(2 <= len(grid) <= 4 for grid in grids)
    assert all(len({str(point) for point in grid}) == len(grid) for grid in grids)
    choice = xrlinear_grids.Choice()
    assert [choice.add({"C": C}, value) for C, value in ((1, 0.2), (2, 0.3), (4, 0.3), (8, 0.1))] == [
        True,
        True,
        False,
        False,
    ]
    assert len(choice.points) == 4


def test_what_is_kept_is_named_by_what_decides_it(tmp_path):
    code, data = tmp_path / "code", tmp_path / "docs.parquet"
    code.mkdir()
    (code / "train.py").write_text("steps = 1")
    data.write_bytes(b"documents")
    first = kept("ofde", code, data, seed=0)
    assert kept("ofde", code, data, seed=0) == first
    assert kept("ofde", code, data, seed=1) != first
    data.write_bytes(b"others")
    assert kept("ofde", code, data, seed=0) != first
    data.write_bytes(b"documents")
    (code / "train.py").write_text("steps = 2")
    assert kept("ofde", code, data, seed=0) != first
