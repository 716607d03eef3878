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
from raytagger.metrics import RARE_AT_MOST, Ranked, merge_ranked
from raytagger.progress import silent
from raytagger.report import Subject, write_page
from raytagger.report.bias import odds
from raytagger.report.breakdown import best_and_worst, buckets, principal_plane
from raytagger.report.charts import Series, chart
from raytagger.schema import Scores
from raytagger.settings import SourceSettings
from raytagger.store import Store
from tests.calibrated import drawn_documents, knowing_tagger, overstated

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


def make_subject(evaluation, folder, asked=ASKED, **manifest):
    tagger = evaluation.tagger
    return Subject(
        "mine",
        folder,
        tagger.manifest | manifest,
        tagger.labels,
        tagger.train_count_L,
        evaluation.unseen_L,
        evaluation.summary(asked),
        Ranked.concatenate(evaluation.ranked),
        evaluation.examples,
    )


@pytest.fixture(scope="module")
def subject(evaluation, trained_bundle):
    return make_subject(evaluation, trained_bundle)


MANIFEST = {
    "unseen_bias": 0.5,
    "curve": [
        {"bias": 0.0, "nDCG@5": 0.85, "ZSR@10": 0.5},
        {"bias": 0.5, "nDCG@5": 0.846, "ZSR@10": 0.617},
        {"bias": 1.0, "nDCG@5": 0.8, "ZSR@10": 0.7},
        {"bias": 2.0, "nDCG@5": None, "ZSR@10": None},
    ],
    "members": [
        {
            "name": "tree",
            "kind": "tree",
            "documents_per_s": 1234.5,
            "share_asked": 0.8125,
            "weight_seen": 0.71,
            "weight_unseen": 0.0,
            "bundle": "models/tree/1",
        },
        {"name": EVIL},
    ],
    "thresholds": {
        "value": 0.3418,
        "mode": "micro_F1",
        "per_label": {"kept": True, "gain": 0.0081, "low": 0.0023, "high": 0.014},
    },
}


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A measured tagger that is too sure of itself, with all that the manifest of a blend may say."""
    folder = tmp_path_factory.mktemp("calibrated")
    tagger = knowing_tagger(900)
    drawn_documents(tagger, folder / "docs.jsonl")
    tagger = tagger.saying(overstated(tagger.score_NL))
    asked = Asked(details=True)
    found = gather(tagger, Store(), SourceSettings(str(folder / "docs.jsonl")), asked)
    return make_subject(found, folder, asked, **MANIFEST)


@pytest.fixture(scope="module")
def page(subject):
    return write_page(subject, [dataclasses.replace(subject, name="other")], grouped=True)


def test_every_section_is_there(page):
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "Beside other taggers",
        "Frequent, rare and unseen labels",
        "The trade between seen and unseen labels",
        "Can the probabilities be believed?",
        "Which tags are kept",
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
            ~subject.unseen_L & (subject.train_count_L > RARE_AT_MOST),
            ~subject.unseen_L & (subject.train_count_L <= RARE_AT_MOST),
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


def sections_of(page):
    """The markup below each heading."""
    parts = re.split(r"<h2>(.*?)</h2>", page)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_scores_that_are_no_probabilities_are_called_so(page):
    section = sections_of(page)["Can the probabilities be believed?"]
    assert "are no probabilities" in section
    assert "<figure>" not in section
    assert "What each member costs" not in sections_of(page)


def test_a_bundle_without_a_threshold_is_called_so(subject):
    none = {"mode": "micro_F1", "value": None, "why": "no validation document has a label of the label set"}
    found = sections_of(write_page(dataclasses.replace(subject, manifest=subject.manifest | {"thresholds": none})))
    assert "There is no threshold: no validation document has a label" in found["Which tags are kept"]
    assert "F1 is not defined" in found["Which tags are kept"]


def test_promises_stand_beside_what_is_right(calibrated):
    section = sections_of(write_page(calibrated))["Can the probabilities be believed?"]
    found = calibrated.figures
    assert section.count("<figure>") == 3
    for group in ("seen", "rare", "unseen"):
        off, brier = f"{100 * found[f'ECE_{group}']:.1f}", f"{found[f'Brier_{group}']:.3f}"
        assert (
            f"{off} points off on average (ECE), Brier score {brier}, {found[f'n_pairs_{group}']:,} tags."
            in section
        )
        cells = f"<td>{off}</td><td>{brier}</td>"
        assert cells in section
        bins = found["reliability"][group]
        assert all(f"{count:,} tags: promised {100 * promised:.1f} %" in section for promised, _, count in bins)
    assert section.count('class="mark') == sum(
        len(found["reliability"][group]) for group in ("seen", "rare", "unseen")
    )
    seen = found["reliability"]["seen"]
    right = sum(share * count for _, share, count in seen) / found["n_pairs_seen"]
    assert f"promised to be right and <b>{100 * right:.1f} %</b> are" in section
    assert "on the documents of test, zeroshot" in section


def test_marks_lie_where_the_diagram_says(calibrated):
    """On a diagonal of 100 % a mark's place is that of its bin, and the fullest bin has the largest mark."""
    section = sections_of(write_page(calibrated))["Can the probabilities be believed?"]
    figure = section.split("<figure>")[1]
    line = re.search(r'class="ideal" x1="(.*?)" y1="(.*?)" x2="(.*?)" y2="(.*?)"', figure)
    x1, y1, x2, y2 = map(float, line.groups())
    marks = [tuple(map(float, mark)) for mark in re.findall(r'<circle cx="(.*?)" cy="(.*?)" r="(.*?)"', figure)]
    bins = calibrated.figures["reliability"]["seen"]
    for (x, y, _), (promised, share, _) in zip(marks, bins, strict=True):
        assert x == pytest.approx(x1 + promised * (x2 - x1), abs=0.06)
        assert y == pytest.approx(y1 + share * (y2 - y1), abs=0.06)
    assert max(range(len(bins)), key=lambda row: bins[row][2]) == max(
        range(len(bins)), key=lambda row: marks[row][2]
    )


def test_no_unseen_label_shown_is_said(calibrated):
    figures = calibrated.figures | {f"{name}_unseen": None for name in ("ECE", "Brier")}
    figures |= {"n_pairs_unseen": 0, "n_pairs_unseen_zero_shot": 0}
    figures["reliability"] = figures["reliability"] | {"unseen": [], "unseen_zero_shot": []}
    section = sections_of(write_page(dataclasses.replace(calibrated, figures=figures)))[
        "Can the probabilities be believed?"
    ]
    assert "No unseen label was among the tags shown" in section
    assert section.count("<figure>") == 2
    assert "on the documents of" not in section


def test_the_choice_on_validation_is_marked_beside_the_measured_curve(calibrated, subject):
    section = sections_of(write_page(calibrated, [subject]))["The trade between seen and unseen labels"]
    assert section.count("<figure>") == 2
    assert "log odds" in section
    assert "own bias, +0.50, was chosen" in section
    assert "nDCG@5 84.6 and ZSR@10 61.7 there" in section
    measured, chosen = section.split("<figure>")[1:]
    assert measured.count('r="6.0"') == 1
    found = calibrated.figures
    tip = f"+0.000: nDCG@5 {100 * found['nDCG@5']:.1f}, ZSR@10 {100 * found['ZSR@10']:.1f}"
    assert re.search(r'r="6.0"/><title>mine: ' + re.escape(tip), measured)
    assert re.search(r'r="6.0"/><title>validation: \+0.500: nDCG@5 84.6, ZSR@10 61.7', chosen)
    assert chosen.count("<title>") == 3
    none = dataclasses.replace(calibrated, manifest=calibrated.manifest | {"curve": [], "members": None})
    assert "own bias" not in write_page(none)


@pytest.mark.parametrize("bias", [-3.0, 0.0, 3.0])
def test_a_bias_on_odds_keeps_probabilities_in_order(bias):
    """Ties and impossible probabilities too: the order within a kind never changes, and pads stay last."""
    score_BK = np.array([[1.0, 0.9999999, 0.5, 1e-20, 1e-44, 0.0, -np.inf]], np.float32)
    label_BK = np.array([[3, 1, 4, 0, 5, 2, -1]], np.int32)
    found = odds(Scores(label_BK, score_BK))
    assert np.isneginf(found.score_BK[0, -1])
    moved = found.score_BK[0, :-1] + bias
    assert np.isfinite(moved).all()
    assert (np.diff(moved) <= 0).all()
    assert (np.diff(moved)[:4] < 0).all()
    assert found.score_BK[0, 2] == 0
    assert found.score_BK[0, 3] == pytest.approx(np.log(1e-20), rel=1e-5)


def test_members_and_thresholds_are_told(calibrated):
    found = sections_of(write_page(calibrated))
    cells = ["1,234", "81.2", "0.71", "0.00", "models/tree/1"]
    assert "".join(f"<td>{cell}</td>" for cell in cells) in found["What each member costs"]
    assert "</th>" + "<td>-</td>" * 6 + "</tr>" in found["What each member costs"]
    kept = found["Which tags are kept"]
    assert "from 0.342 on. It was chosen for the best micro-F1 on validation documents." in kept
    assert "are used: +0.81 points on documents that they were not chosen on (95 % interval +0.23 to +1.40)" in kept
    refused = {"kept": False, "gain": 0.001, "low": -0.01, "high": 0.02, "why": None}
    left_out = {"mode": "some_mode", "value": None, "per_label": refused}
    page = write_page(dataclasses.replace(calibrated, manifest=calibrated.manifest | {"thresholds": left_out}))
    assert "some_mode on validation documents. Thresholds of their own for labels were tried and left out" in page


def test_what_a_manifest_says_is_escaped(calibrated):
    labels = dataclasses.replace(calibrated.labels, titles=(EVIL,) * len(calibrated.labels))
    manifest = calibrated.manifest | {"thresholds": {"mode": EVIL}}
    manifest["members"] = [dict.fromkeys(("name", "kind", "bundle", "weight_seen"), EVIL)]
    page = write_page(dataclasses.replace(calibrated, name=EVIL, labels=labels, manifest=manifest))
    assert "<script" not in page
    assert EVIL in unescape(sections_of(page)["What each member costs"])
    assert EVIL in unescape(sections_of(page)["Which tags are kept"])
