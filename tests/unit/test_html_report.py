"""The report: every section, right figures, nothing from outside, nothing unescaped."""

import dataclasses
import json
import re
import shutil
from html import unescape

import numpy as np
import pytest

from raytagger import metrics
from raytagger.bundle import load, open_bundle
from raytagger.compare import evaluate_beside
from raytagger.evaluate import Asked, gather
from raytagger.metrics import Ranked, merge_ranked
from raytagger.progress import silent
from raytagger.report import Subject, write_page
from raytagger.report.breakdown import best_and_worst, buckets, principal_plane
from raytagger.report.charts import Series, chart
from raytagger.settings import SourceSettings
from raytagger.store import Store

ASKED = Asked(group="source", details=True)
EVIL = "<script>alert('x')</script> & \"quoted\""


@pytest.fixture(scope="module")
def source(small_files):
    return SourceSettings(str(small_files / "docs.parquet"), columns=("source",))


@pytest.fixture(scope="module")
def evaluation(mean_bundle, source):
    return gather(load(mean_bundle), Store(), source, ASKED)


@pytest.fixture(scope="module")
def trained_bundle(mean_bundle, tmp_path_factory):
    """A copy of the bundle's folder with the log of a training beside it."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(open_bundle(mean_bundle, Store()).folder, folder, dirs_exist_ok=True)
    spread = {"mean_cosine": 0.2, "effective_rank": 20.0}
    entry = {"epoch": 0.0, "loss": None, "nDCG@5": 0.3, "ZSR@10": 0.6, "UR@1": 0.5, "seconds": 1.0, "cpu_s": 2.0}
    entry["spread"] = {"seen": spread, "pseudo_unseen": None, "unseen": spread}
    log = {
        "evaluations": [{"step": step, **entry} for step in (0, 10, 20)],
        "pseudo_unseen_labels": 3,
        "pseudo_unseen_documents": 40,
        "validation_documents": 50,
        "guard": {"mode": "average", "mixture": 0.7, "stopped_at": None, "points": []},
        "chosen_step": 20,
        "steps": 20,
        "seconds": 12.0,
        "cpu_s": 20.0,
        "workers": 2,
    }
    (folder / "training.json").write_text(json.dumps(log))
    np.save(folder / "label_start_LD.npy", np.load(folder / "label_LD.npy"))
    return folder


@pytest.fixture(scope="module")
def subject(evaluation, trained_bundle):
    tagger = evaluation.tagger
    return Subject(
        "mine",
        trained_bundle,
        tagger.manifest,
        tagger.labels,
        tagger.train_count_L,
        evaluation.unseen_L,
        evaluation.summary(ASKED),
        Ranked.concatenate(evaluation.ranked),
        evaluation.examples,
    )


@pytest.fixture(scope="module")
def page(subject):
    return write_page(subject, [dataclasses.replace(subject, name="other")], grouped=True)


def test_every_section_is_there(page):
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "Beside other taggers",
        "Frequent, rare and unseen labels",
        "The trade between seen and unseen labels",
        "While it was trained",
        "Where the labels lie",
        "Documents",
        "Best and worst labels",
        "Corpus, times, licences, settings",
    ]
    assert page.count("<figure>") == 1 + 3 + 2
    assert "popularity" in page
    assert "by source" in page
    assert "other on the same documents: nDCG@5 +0.0 points" in page
    assert "70 % of the way" in page


def test_nothing_comes_from_outside(page):
    assert not re.search(r"(src|href)\s*=|url\(|@import|<script|<link", page)


def test_the_figures_are_those_of_evaluate(page, subject):
    for name in ("P@1", "nDCG@5", "ZSR@10", "UR@1"):
        assert f"<td>{100 * subject.figures[name]:.1f}" in page


def test_texts_are_escaped(subject):
    labels = dataclasses.replace(subject.labels, titles=(EVIL,) * len(subject.labels))
    examples = [{**example, "text": EVIL, "doc_id": EVIL} for example in subject.examples]
    page = write_page(dataclasses.replace(subject, name=EVIL, labels=labels, examples=examples))
    assert "<script" not in page
    assert EVIL in unescape(page)


def test_without_training_unseen_labels_or_popularity(subject, tmp_path):
    none = np.zeros(len(subject.labels), bool)
    figures = subject.figures | {"UR@1": None, "ZSR@10": None, "chance_ZSR@10": None, "n_unseen_labels": 0}
    bare = dataclasses.replace(
        subject, folder=tmp_path, unseen_L=none, figures=figures, train_count_L=none.astype(np.int64)
    )
    page = write_page(bare)
    assert "While it was trained" not in page
    assert "Where the labels lie" not in page
    assert "popularity:" not in page
    assert "The trade" not in page


def test_the_front_at_no_bias_is_what_evaluate_found(subject):
    (point,) = metrics.front(subject.ranked, subject.unseen_L, [0.0])
    assert point.ndcg == pytest.approx(subject.figures["nDCG@5"])
    assert point.zsr == pytest.approx(subject.figures["ZSR@10"])


def test_a_bias_moves_unseen_labels_up_and_down(subject):
    low, high = (merge_ranked(subject.ranked, bias) for bias in (-9.0, 9.0))
    assert not subject.unseen_L[low.label_BK].any()
    assert subject.unseen_L[high.label_BK[:, 0]].all()


def test_buckets_are_their_slow_loop(subject):
    gold, top = subject.ranked.gold.toarray(), merge_ranked(subject.ranked).label_BK
    for row, member in zip(
        buckets(subject),
        (
            ~subject.unseen_L & (subject.train_count_L > 20),
            ~subject.unseen_L & (subject.train_count_L <= 20),
            subject.unseen_L,
        ),
        strict=True,
    ):
        pairs = [(document, label) for document, label in zip(*np.nonzero(gold), strict=True) if member[label]]
        found = sum(label in top[document] for document, label in pairs)
        assert row["labels"] == member.sum()
        assert row["pairs"] == len(pairs)
        assert row["recall"] == (pytest.approx(found / len(pairs)) if pairs else None)


def test_best_labels_are_found_more_often_than_worst(subject):
    best, worst = best_and_worst(subject)
    assert best
    assert min(label["recall"] for label in best) >= max(label["recall"] for label in worst)
    assert all(label["gold"] >= 5 for label in best + worst)
    assert not {label["id"] for label in best} & {label["id"] for label in worst}


def test_the_plane_is_that_of_scikit_learn():
    from sklearn.decomposition import PCA

    label_LD = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    ours, theirs = principal_plane(label_LD), PCA(2).fit_transform(label_LD)
    assert np.abs(ours) == pytest.approx(np.abs(theirs), abs=1e-4)


def test_a_chart_of_one_point_or_none():
    assert chart([Series("empty", [])], "x", "y", "none") == ""
    drawn = chart([Series("one", [(5.0, 5.0)])], "x", "y", "a <caption>")
    assert "nan" not in drawn
    assert "a &lt;caption&gt;" in drawn


def test_bundles_are_measured_beside_each_other(mean_bundle, source):
    figures, page = evaluate_beside([mean_bundle, mean_bundle], "", source, ASKED, silent)
    assert figures["nDCG@5"] > 0
    assert page.count("<th scope='row'>bundle</th>") == 3  # twice as a row, once among the facts
    _, nothing = evaluate_beside([mean_bundle, mean_bundle], "", source, Asked(), silent)
    assert nothing == ""
