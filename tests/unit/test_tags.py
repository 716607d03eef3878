"""Which labels of its rankings a bundle keeps as tags: how many at most, and from which score on."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from raytagger.bundle import load
from raytagger.bundle.kept import FILE
from raytagger.calibration import Thresholds
from raytagger.errors import SettingsError
from raytagger.evaluate import Asked, evaluate
from raytagger.evaluate.documents import gold_matrix
from raytagger.metrics import macro_f1, micro_f1, tag_matrix
from raytagger.recipes.fit import fit
from raytagger.settings import (
    FitRun,
    OutputSettings,
    SearchSettings,
    SourceSettings,
    ThresholdSettings,
)
from raytagger.store import Store
from raytagger.tables import figure_lines

LABELS = 60


def write_corpus(folder: Path, counts: list[int], validation: int = 60, noise: int = 3) -> SourceSettings:
    """Documents whose words name their labels, `counts` a training document, and `noise` others."""
    rng, rows = np.random.default_rng(0), []
    for row, count in enumerate([*counts, *counts[:validation]]):
        label_K = rng.permutation(LABELS)[: count + noise]
        text = " ".join(f"word{label}" for label in label_K)
        split = "train" if row < len(counts) else "val"
        names = [f"l{label}" for label in label_K[:count]]
        rows.append({"id": str(row), "text": text, "labels": names, "split": split})
    labels = [{"id": f"l{label}", "title": f"word{label}"} for label in range(LABELS)]
    for name, some in (("docs", rows), ("labels", labels)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return SourceSettings(str(folder / "docs.jsonl"), str(folder / "labels.jsonl"))


def run_of(source: SourceSettings, out: Path, method: str = "frozen", **search) -> FitRun:
    return FitRun(method, source, search=SearchSettings("tfidf", **search), output=OutputSettings(str(out)))


MANY = [*range(1, 40), 39] * 5  # labels a document; more than one document in a hundred has 39


@pytest.mark.parametrize("method", ["frozen", "xrlinear"])
def test_tags_are_as_many_as_training_documents_have(tmp_path, method):
    fitted = fit(run_of(write_corpus(tmp_path, MANY), tmp_path / "out", method))
    assert (
        "up to 39 labels a document, the 99th percentile of the training documents; search.k sets it"
        in fitted.line()
    )
    tagger = load(fitted.bundle)
    assert tagger.keep_k == tagger.manifest["settings"]["search"]["k"] == 39
    text = " ".join(f"word{label}" for label in range(50))
    scores = tagger.tag([text])
    assert scores.label_BK.shape == (1, 39)  # what is asked for by default is no less than what is kept


@pytest.mark.parametrize(
    ("counts", "asked", "kept", "told"),
    [
        ([1, 2, 3] * 50, {}, 5, "99th percentile of the training documents is 3"),
        (MANY, {"k": 7}, 7, "as asked"),
        ([10] * 199 + [50], {}, 10, "99th percentile"),  # one of two hundred is an exception
    ],
)
def test_how_many_tags_there_may_be_is_told(tmp_path, counts, asked, kept, told):
    fitted = fit(run_of(write_corpus(tmp_path, counts, noise=0), tmp_path / "out", **asked))
    assert load(fitted.bundle).keep_k == kept
    assert f"up to {kept} labels a document" in fitted.line()
    assert told in fitted.line()


def test_more_tags_than_are_usual_may_be_asked_for(tmp_path):
    run = run_of(write_corpus(tmp_path, [2] * 60), tmp_path / "out")
    fitted = fit(dataclasses.replace(run, threshold=ThresholdSettings(most=9)))
    assert load(fitted.bundle).keep_k == 9
    fewer = fit(dataclasses.replace(run, threshold=ThresholdSettings(most=1)))
    assert load(fewer.bundle).keep_k == 1
    assert "up to 1 labels a document, threshold.most" in fewer.line()
    assert "search.k sets it" not in fewer.line()
    with pytest.raises(SettingsError, match=r"threshold\.most = 9 contradicts search\.k = 4"):
        fit(dataclasses.replace(run, search=SearchSettings("tfidf", k=4), threshold=ThresholdSettings(most=9)))


def test_without_labelled_documents_there_are_five_tags_and_no_f1(tmp_path):
    source = write_corpus(tmp_path, MANY)
    fitted = fit(run_of(dataclasses.replace(source, documents=""), tmp_path / "out"))
    tagger = load(fitted.bundle)
    assert (tagger.keep_k, tagger.threshold) == (5, None)
    more = dataclasses.replace(run_of(dataclasses.replace(source, documents=""), tmp_path / "more"))
    assert load(fit(dataclasses.replace(more, threshold=ThresholdSettings(least=10))).bundle).keep_k == 10
    figures = evaluate(tagger, Store(), source, Asked("val"))
    assert (figures["micro_F1"], figures["macro_F1"]) == (None, None)
    assert "no validation document" in figures["no_F1"]
    lines = figure_lines(figures)
    assert any(line.split()[:2] == ["micro_F1", "n/a"] for line in lines)
    assert any("no validation document" in line for line in lines)


def test_a_cut_of_the_validation_documents_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("raytagger.recipes.blend_documents.VALIDATION_AT_MOST", 40)
    line = fit(run_of(write_corpus(tmp_path, MANY), tmp_path / "out")).line()
    assert "on 40 of 60 validation documents" in line


@pytest.mark.parametrize("method", ["frozen", "xrlinear"])
@pytest.mark.parametrize("mode", ["micro_F1", "macro_F1"])
def test_every_kind_has_the_threshold_that_is_best_on_validation_documents(tmp_path, method, mode):
    source = write_corpus(tmp_path, MANY, noise=9)
    asked = ThresholdSettings(mode, per_label="never")
    fitted = fit(dataclasses.replace(run_of(source, tmp_path / "out", method), threshold=asked))
    tagger = load(fitted.bundle)
    assert tagger.threshold is not None
    assert f"from a score of {tagger.threshold:.3g} on" in fitted.line()
    rows = [json.loads(line) for line in Path(source.documents).read_text().splitlines()]
    rows = [row for row in rows if row["split"] == "val"]
    gold, _ = gold_matrix([row["labels"] for row in rows], tagger.labels.index)
    scores = tagger.search(tagger.encode([row["text"] for row in rows]), tagger.keep_k)
    measure = {"micro_F1": micro_f1, "macro_F1": macro_f1}[mode]

    def at(value: float) -> float:
        kept = Thresholds(value).keep(scores, tagger.keep_k)
        return measure(tag_matrix(kept, LABELS), gold)

    figures = evaluate(tagger, Store(), source, Asked("val"))
    assert figures["no_F1"] is None
    assert figures[mode] == pytest.approx(at(tagger.threshold))
    assert figures[mode] >= max(at(float(value)) for value in np.unique(scores.score_BK)[::5]) - 1e-12


def test_a_threshold_that_is_set_stays_and_none_may_be_asked_for(tmp_path):
    source = write_corpus(tmp_path, MANY)
    fixed = load(fit(run_of(source, tmp_path / "fixed", threshold=1.5)).bundle)
    assert fixed.threshold == 1.5
    run = dataclasses.replace(run_of(source, tmp_path / "count"), threshold=ThresholdSettings("count"))
    fitted = fit(run)
    assert load(fitted.bundle).threshold is None
    assert "no threshold: threshold.mode is count" in fitted.line()
    with pytest.raises(SettingsError, match=r"search\.threshold = 1\.5 contradicts"):
        fit(dataclasses.replace(run, search=SearchSettings("tfidf", threshold=1.5)))


def test_an_older_bundle_keeps_what_it_kept(tmp_path):
    source = write_corpus(tmp_path, MANY)
    fitted = fit(run_of(source, tmp_path / "out", k=5))
    folder = Path(fitted.bundle) / fitted.version
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / FILE).unlink()
    for fact in ("tags", "thresholds"):
        del manifest[fact]
    del manifest["files"][FILE], manifest["settings"]["threshold"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    tagger = load(fitted.bundle)
    kept = tagger.keep(tagger.tag([" ".join(f"word{label}" for label in range(20))]))
    assert [int(row.sum()) for row in kept.label_BK >= 0] == [5]
    figures = evaluate(tagger, Store(), source, Asked("val"))
    assert figures["micro_F1"] is None
    assert "older version" in figures["no_F1"]
