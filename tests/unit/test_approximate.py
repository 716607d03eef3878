"""Approximate search against exact search."""

import dataclasses
import sys
import tracemalloc

import numpy as np
import pytest

from raytagger.bundle import load, open_bundle
from raytagger.corpus.output import SMALL
from raytagger.errors import CapacityError, SettingsError
from raytagger.recipes.fit import fit
from raytagger.schema import PAD
from raytagger.search import (
    DenseScorer,
    DenseSearch,
    approximate,
    build_index,
    open_index,
    save_index,
    search_exact,
)
from raytagger.settings import SearchSettings
from tests.equal import assert_same_scores

KINDS = ("hnsw", "ivf")


def clusters(labels=3000, width=16, seed=0):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(60, width))
    points = centre[rng.integers(60, size=labels)] + 0.4 * rng.normal(size=(labels, width))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=KINDS)
def built(request):
    label_LD = clusters()
    return label_LD, *build_index(label_LD, request.param, seed=1)


@pytest.fixture(autouse=True)
def indexed(monkeypatch):
    """So that the index is used, few labels as there are."""
    monkeypatch.setattr(approximate, "FEW_ALLOWED", 50)


def exact(doc_BD, label_LD, allowed, k):
    return search_exact([DenseScorer(doc_BD, label_LD)], len(doc_BD), allowed, k)


def test_the_recall_in_the_manifest_is_what_search_has(built):
    label_LD, index, facts = built
    doc_BD = approximate._moved(label_LD, 1)
    allowed = np.ones(len(label_LD), bool)
    found, right = (
        DenseSearch.over(label_LD, index).search(doc_BD, allowed, 10),
        exact(doc_BD, label_LD, allowed, 10),
    )
    hits = [len(set(a) & set(b)) / 10 for a, b in zip(found.label_BK, right.label_BK, strict=True)]
    assert facts["recall@10"] >= 0.98
    assert np.mean(hits) == pytest.approx(facts["recall@10"], abs=0.03)
    assert 0.8 <= facts["recall@100"] <= 1


def test_scores_and_order_are_those_of_exact_search(built):
    label_LD, index, _ = built
    doc_BD = approximate._moved(label_LD, 7)[:40]
    allowed = np.ones(len(label_LD), bool)
    found, right = DenseSearch.over(label_LD, index).search(doc_BD, allowed, 5), exact(doc_BD, label_LD, allowed, 5)
    same = found.label_BK == right.label_BK
    assert same.mean() > 0.9
    assert found.score_BK[same] == pytest.approx(right.score_BK[same], abs=1e-5)
    assert (np.diff(found.score_BK, axis=1) <= 1e-6).all()


def test_labels_that_are_not_allowed_are_never_found(built):
    label_LD, index, _ = built
    doc_BD, allowed = approximate._moved(label_LD, 7)[:40], np.random.default_rng(0).random(len(label_LD)) < 0.3
    found = DenseSearch.over(label_LD, index).search(doc_BD, allowed, 10)
    assert allowed[found.label_BK[found.label_BK != PAD]].all()
    hits = [
        len(set(a) & set(b))
        for a, b in zip(found.label_BK, exact(doc_BD, label_LD, allowed, 10).label_BK, strict=True)
    ]
    assert np.mean(hits) > 9


@pytest.mark.parametrize("absent", [0, 7])
def test_a_search_makes_no_list_of_all_labels(absent):
    """Of a million labels it would take longer than the search: which may be found is read as bits."""
    label_LD = clusters(100_000, 4)
    search = DenseSearch.over(label_LD, build_index(label_LD, "ivf", 0)[0])
    doc_BD, allowed = label_LD[:1], np.ones(len(label_LD), bool)
    allowed[:absent] = False
    tracemalloc.start()
    found = search.search(doc_BD, allowed, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(label_LD)
    assert (found.label_BK[0, 0] == 0) == (not absent)
    assert allowed[found.label_BK].all()


def test_few_allowed_labels_are_searched_exactly(built):
    label_LD, index, _ = built
    doc_BD, allowed = clusters(10, seed=6), np.arange(len(label_LD)) % 100 == 7
    found, right = (
        DenseSearch.over(label_LD, index).search(doc_BD, allowed, 40),
        exact(doc_BD, label_LD, allowed, 40),
    )
    assert_same_scores(found, right)
    assert (found.label_BK[:, 30:] == PAD).all()
    assert np.isneginf(found.score_BK[:, 30:]).all()


def test_new_and_reworded_labels_are_found_without_a_new_index(built):
    label_LD, index, _ = built
    doc_BD = clusters(2, seed=9)
    longer = np.concatenate([label_LD, doc_BD[:1]])
    longer[17] = doc_BD[1]
    search = DenseSearch.over(label_LD, index).with_labels(longer, [17, len(label_LD)])
    found = search.search(doc_BD, np.ones(len(longer), bool), 3)
    assert found.label_BK[:, 0].tolist() == [len(label_LD), 17]
    assert found.score_BK[:, 0] == pytest.approx(1, abs=1e-5)


def test_an_index_comes_back_and_is_the_same_for_the_same_seed(built, tmp_path):
    label_LD, index, facts = built
    save_index(index, tmp_path)
    opened = open_index(tmp_path, facts)
    again, facts_again = build_index(label_LD, facts["kind"], seed=1)
    doc_BD, allowed = clusters(30, seed=4), np.ones(len(label_LD), bool)
    right = index.candidates(doc_BD, 10, allowed)
    assert (opened.candidates(doc_BD, 10, allowed) == right).all()
    assert (again.candidates(doc_BD, 10, allowed) == right).all()
    assert {**facts_again, "build_s": 0} == {**facts, "build_s": 0}
    assert open_index(tmp_path, None) is None


@pytest.mark.slow
def test_a_bundle_with_an_index_tags_as_one_without(small_run, monkeypatch):
    monkeypatch.setattr(approximate, "FEW_ALLOWED", 5)
    plain, indexed = small_run("dense", "plain"), small_run("dense", "indexed")
    indexed = dataclasses.replace(indexed, search=SearchSettings(kind="dense", index="hnsw"))
    fit(plain)
    fit(indexed)
    from raytagger.store import Store

    facts = open_bundle(indexed.output.bundle, Store()).manifest["index"]
    assert facts["recall@10"] == 1.0
    texts = ["sewing a quilt by hand", "a sailing boat in the harbour", (SMALL / "docs.jsonl").read_text()[:200]]
    one, other = (load(run.output.bundle).tag(texts, 5) for run in (plain, indexed))
    assert_same_scores(one, other)


def test_an_index_for_a_mean_of_cosines_is_refused(small_run):
    run = dataclasses.replace(small_run("mean"), search=SearchSettings(kind="mean", index="hnsw"))
    with pytest.raises(SettingsError, match="auto or exact for mean"):
        fit(run)


def scattered(small_run, monkeypatch, documents):
    """A run over the small corpus whose label vectors are so many and alike that little effort misses some."""
    monkeypatch.setattr(approximate, "EFFORTS", {"ivf": (1,)})
    run = small_run("dense")
    source = dataclasses.replace(run.source, documents=run.source.documents if documents else "")
    return dataclasses.replace(run, source=source, search=SearchSettings(kind="dense", index="ivf"))


@pytest.mark.parametrize(("documents", "queried"), [(True, "documents"), (False, "labels moved a little")])
def test_an_index_that_misses_labels_is_told_and_measured_on_documents(small_run, monkeypatch, documents, queried):
    said = []
    run = scattered(small_run, monkeypatch, documents)
    monkeypatch.setattr(approximate, "RECALL_WANTED", 1.01)
    fitted = fit(run, say=said.append)
    from raytagger.store import Store

    facts = open_bundle(fitted.bundle, Store()).manifest["index"]
    assert (facts["queried"], facts["queries"] > 40) == (queried, True)
    assert facts["recall@10"] < 1.01
    (warning,) = [line for line in fitted.warnings if "label index" in line]
    assert f"finds {100 * facts['recall@10']:.1f} % of the ten best labels" in warning
    assert f"warning: {warning}" in said
    monkeypatch.setattr(approximate, "RECALL_WANTED", facts["recall@10"])
    assert not [line for line in fit(run).warnings if "label index" in line]


def test_without_faiss_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(CapacityError, match=r"raytagger\[cpu\]"):
        build_index(clusters(100), "hnsw", 0)


@pytest.mark.slow
def test_so_many_labels_are_searched_exactly(built):
    """A row of candidates for each document would not fit into memory, and an index names near labels alone."""
    label_LD, index, _ = built
    doc_BD, allowed = approximate._moved(label_LD, 7)[:5], np.ones(len(label_LD), bool)
    found, right = (
        DenseSearch.over(label_LD, index).search(doc_BD, allowed, 2000),
        exact(doc_BD, label_LD, allowed, 2000),
    )
    assert_same_scores(found, right)
