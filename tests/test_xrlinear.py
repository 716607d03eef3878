"""XR-Linear from corpus to bundle: what a user of the bundle relies on."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from raytagger.bundle import load, named
from raytagger.bundle.moments import moments_by_rank
from raytagger.bundle.panel import spread
from raytagger.bundle.tree import TreeTagger
from raytagger.corpus.output import SMALL
from raytagger.corpus.splits import held_out
from raytagger.errors import BundleError, CorpusError, SettingsError
from raytagger.evaluate import Asked, evaluate
from raytagger.recipes.fit import fit
from raytagger.retag.run import retag
from raytagger.schema import PAD
from raytagger.search.beam import BeamSearch
from raytagger.serve.api import make_api
from raytagger.settings import (
    FitRun,
    OutputSettings,
    RetagRun,
    RetagSettings,
    SearchSettings,
    SourceSettings,
    TermSettings,
    TreeSettings,
)
from raytagger.store import Store, join
from raytagger.store.tags import TagTable
from raytagger.stream.output import tag_documents
from tests.conftest import ROOT
from tests.corpora import STATIC, retag_run, write_texts
from tests.equal import CLOSE, assert_same_ranking, assert_same_scores, ranking

TEXTS = ["Prune plums in high summer.", "Sauerkraut needs salt, cabbage and patience.", "A loaf of sourdough bread"]
DEEP = {"splits": 2, "leaf": 6, "embedding": "label2vec+pifa+text", "negatives": "tfn+man"}


def small_run(out: str, index: str = "auto", **tree) -> FitRun:
    return FitRun(
        method="xrlinear",
        source=SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl")),
        encoder=STATIC,
        tree=TreeSettings(**tree),
        search=SearchSettings(index=index),
        output=OutputSettings(out),
    )


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("flat") / "bundle")
    fit(small_run(out))
    return out


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Two deep trees over words and static vectors, and two over words alone."""
    out = str(tmp_path_factory.mktemp("deep") / "bundle")
    fit(small_run(out, "tree", trees=2, features=("all", "terms"), dense_weight=0.5, cost_sensitive=True, **DEEP))
    return out


def opened(uri: str) -> TreeTagger:
    tagger = load(uri)
    assert isinstance(tagger, TreeTagger)
    return tagger


@pytest.mark.parametrize("which", ["flat", "deep"])
def test_it_finds_seen_labels_by_training_and_unseen_ones_by_text(which, request):
    uri = request.getfixturevalue(which)
    source = small_run("").source
    found = evaluate(load(uri), Store(), source, Asked())
    frozen = small_run(uri + "-tfidf")
    fit(dataclasses.replace(frozen, method="frozen", search=SearchSettings("tfidf")))
    by_text = evaluate(load(uri + "-tfidf"), Store(), source, Asked())
    assert found["nDCG@5"] > by_text["nDCG@5"]
    assert found["UR@1"] > 0.3  # chance is 0.1
    assert found["ZSR@10"] > found["chance_ZSR@10"]


def test_a_wide_beam_in_a_tree_answers_as_exact_search(deep):
    tagger = opened(deep)
    features = tagger.encode(TEXTS)
    tree = tagger.trees[0]
    weighted = features.doc_BE * np.float32(tagger.run.tree.dense_weight)
    exact = BeamSearch(tree.layout, tree.transform, tree.combiner, 0).search(features.doc_BV, 20, weighted)
    wide = tree.search(features.doc_BV, 20, weighted, beam=60)
    assert_same_scores(exact, wide)


def tiny_corpus(folder: Path, splits: str) -> SourceSettings:
    """A document a letter of `splits` (t: train, v: val without labels), each about one of three things."""
    things = ["bread", "salt", "wood"]
    names = {"t": "train", "v": "val"}
    rows = [
        {
            "id": str(n),
            "text": f"{things[n % 3]} {n}",
            "split": names[part],
            "labels": [things[n % 3]] * (part == "t"),
        }
        for n, part in enumerate(splits)
    ]
    (folder / "docs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    labels = [{"id": name, "title": name} for name in [*things, "kites"]]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, labels)))
    return SourceSettings(documents=str(folder / "docs.jsonl"), labels=str(folder / "labels.jsonl"))


@pytest.mark.parametrize("splits", ["ttttttvv", "t"])
def test_without_a_validation_document_the_text_path_has_its_own_rule(tmp_path, splits):
    run = dataclasses.replace(small_run(str(tmp_path / "out")), source=tiny_corpus(tmp_path, splits))
    fit(dataclasses.replace(run, terms=TermSettings(min_frequency=1)))
    tagger = opened(run.output.bundle)
    found = tagger.tag(["bread", "kites in the wind"], 9)
    assert [tagger.labels.ids[label] for label in found.label_BK[:, 0]] == ["bread", "kites"]
    assert (found.label_BK[:, 4:] == PAD).all()
    assert np.isneginf(found.score_BK[:, 4:]).all()


def test_a_corpus_without_terms_and_a_matrix_of_several_seeds_are_refused(tmp_path):
    run = dataclasses.replace(small_run(str(tmp_path / "out")), source=tiny_corpus(tmp_path, "tttt"))
    with pytest.raises(CorpusError, match="no term is left to train on"):
        fit(dataclasses.replace(run, terms=TermSettings(min_frequency=1000)))
    several = dataclasses.replace(run, tree=TreeSettings(trees=2), search=SearchSettings(index="flat"))
    with pytest.raises(SettingsError, match=r"one matrix of all labels; got '[23] labels, tree.trees = 2'"):
        fit(dataclasses.replace(several, terms=TermSettings(min_frequency=1)))


def many_labels(folder: Path, labels: int) -> SourceSettings:
    """Two documents of two labels each for every two labels."""
    rows = [
        {"id": f"{n}.{half}", "text": f"w{n} v{n + 1}", "split": "train", "labels": [str(n), str(n + 1)]}
        for n in range(0, labels, 2)
        for half in "ab"
    ]
    (folder / "docs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "labels.jsonl").write_text(
        "\n".join(json.dumps({"id": str(n), "title": f"t{n}"}) for n in range(labels))
    )
    return SourceSettings(documents=str(folder / "docs.jsonl"), labels=str(folder / "labels.jsonl"))


@pytest.mark.parametrize(
    ("labels", "asked", "trees", "told"),
    [(2600, 0, 3, "as 3 trees (more than 2,000 labels)"), (2600, 1, 1, "as a tree;"), (40, 0, 1, "as one matrix")],
)
def test_above_two_thousand_labels_three_trees_are_taken_and_told(tmp_path, labels, asked, trees, told):
    run = dataclasses.replace(small_run(str(tmp_path / "out"), trees=asked), source=many_labels(tmp_path, labels))
    said: list[str] = []
    fit(run, say=said.append)
    tagger = opened(run.output.bundle)
    assert len(tagger.trees) == tagger.run.tree.trees == trees
    assert any(told in line for line in said)


@pytest.mark.parametrize("transform", ["noop", "log-sigmoid", "sigmoid"])
def test_every_transform_ranks_as_the_margins_do(flat, tmp_path, transform):
    out = str(tmp_path / transform)
    fit(small_run(out, transform=transform))
    trained = opened(flat).trained_L
    one, other = (tagger.search(tagger.encode(TEXTS), 3, trained) for tagger in (opened(flat), opened(out)))
    assert one.label_BK.tolist() == other.label_BK.tolist()


def test_a_second_fit_takes_every_stage_as_it_is(flat):
    said: list[str] = []
    assert fit(small_run(flat), say=said.append).version == load(flat).bundle_id
    assert {line.split(":")[0] for line in said if "made already" in line} == {"terms", "features", "tree"}


def test_a_second_fit_tells_of_the_corpus_as_the_first_did(tmp_path):
    """Without splits and with a label that is marked unseen: what is reported is kept with the stage."""
    source = tiny_corpus(tmp_path, "t" * 60)
    rows = [json.loads(line) for line in (tmp_path / "docs.jsonl").read_text().splitlines()]
    (tmp_path / "docs.jsonl").write_text("\n".join(json.dumps(row | {"split": None}) for row in rows))
    labels = [{"id": name, "title": name, "seen": name != "salt"} for name in ("bread", "salt", "wood", "kites")]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, labels)))
    run = dataclasses.replace(small_run(str(tmp_path / "out")), source=source, terms=TermSettings(min_frequency=1))
    said, again = [], []
    first, second = fit(run, say=said.append), fit(run, say=again.append)
    assert second.report.as_dict() == first.report.as_dict()
    assert second.report.n_documents == 60
    assert first.report.findings["marked_unseen"].count > 10
    assert second.warnings == first.warnings != ()
    assert [line for line in again if line.startswith("warning")] == [
        line for line in said if line.startswith("warning")
    ]
    tagger = opened(run.output.bundle)
    assert tagger.trained_L.tolist() == [True, False, True, False]
    held = held_out([row["id"] for row in rows], 0.1)
    assert len(np.asarray(tagger.trained_hashes)) <= 60 - held.sum()
    (tmp_path / "docs.jsonl").write_text("\n".join(json.dumps(row | {"labels": ["salt"]}) for row in rows))
    with pytest.raises(CorpusError, match="no document to train on"):
        fit(run)


def test_a_night_reads_the_fields_of_the_bundle(tmp_path):
    source = tiny_corpus(tmp_path, "t" * 30)
    rows = [json.loads(line) for line in (tmp_path / "docs.jsonl").read_text().splitlines()]
    told = [row | {"title": row["text"], "text": "nothing of note"} for row in rows]
    (tmp_path / "docs.jsonl").write_text("\n".join(map(json.dumps, told)))
    run = dataclasses.replace(
        small_run(str(tmp_path / "out")), source=dataclasses.replace(source, fields=("title", "text"))
    )
    fit(dataclasses.replace(run, terms=TermSettings(min_frequency=1)))
    gold = [row["labels"] for row in rows]
    output = str(tmp_path / "tags.parquet")
    tag_documents(run.output.bundle, RetagRun(RetagSettings(documents=source.documents)), output, k=1)
    assert pq.read_table(output)["label_ids"].to_pylist() == gold
    night = retag_run(source.documents, run.output.bundle, str(tmp_path / "table"), k=1)
    retag(night)
    table = TagTable(Store(), str(tmp_path / "table"))
    found = {row["doc_id"]: row["label_ids"] for part in table.read(table.open()) for row in part.to_pylist()}
    assert [found[row["id"]] for row in rows] == gold
    other = dataclasses.replace(night, source=dataclasses.replace(night.source, fields=("text",)))
    with pytest.raises(SettingsError, match=r"source\.fields"):
        retag(other)


@pytest.mark.s3
def test_object_storage_gives_the_same_bundle(flat, bucket):
    uri = join(bucket, "xrlinear")
    said: list[str] = []
    assert fit(small_run(uri), say=said.append).version == load(flat).bundle_id
    again = fit(small_run(uri), say=said.append)
    assert again.version == load(flat).bundle_id
    assert sum("made already" in line for line in said) == 3
    assert_same_scores(load(uri).tag(TEXTS), load(flat).tag(TEXTS))


def test_a_new_label_is_found_by_its_text_and_changes_no_other_score(deep):
    tagger = opened(deep)
    labels = tagger.labels
    more = dataclasses.replace(
        labels,
        ids=(*labels.ids, "kites"),
        titles=(*labels.titles, "Kites"),
        texts=(*labels.texts, "Flying kites on a beach in the wind"),
        parents=(*labels.parents, ()),
        status=(*labels.status, "active"),
        seen=None,
    )
    newer = tagger.with_labels(more)
    assert more.ids[newer.tag(["Flying kites on a beach in the wind"], 1).label_BK[0, 0]] == "kites"
    old, new = tagger.tag(TEXTS, len(labels)), newer.tag(TEXTS, len(more))
    for row in range(len(TEXTS)):
        scores = dict(zip(new.label_BK[row].tolist(), new.score_BK[row].tolist(), strict=True))
        for label, score in zip(old.label_BK[row].tolist(), old.score_BK[row].tolist(), strict=True):
            if label != PAD:
                assert scores[label] == pytest.approx(score, abs=CLOSE)


@pytest.mark.parametrize("which", ["flat", "deep"])
def test_a_forgotten_label_is_found_by_its_text_alone(which, request):
    tagger = opened(request.getfixturevalue(which))
    hidden_L = np.zeros(len(tagger.labels), bool)
    hidden_L[np.flatnonzero(tagger.trained_L)[::3]] = True
    forgetful = tagger.forgetting(hidden_L)
    features = tagger.encode(["Prune plums in high summer.", "A loaf of sourdough", "Sharpening kitchen knives"])
    found, everything = forgetful.search(features, 60), np.ones(len(tagger.labels), bool)
    for row in found.label_BK:
        named = row[row != PAD]
        assert len(set(named.tolist())) == len(named)
    allowed = forgetful.search(features, 60, everything)
    assert_same_scores(found, allowed)
    by_text = forgetful.search(features, 60, hidden_L)
    trained = tagger.search(features, 60, hidden_L)
    assert (by_text.score_BK != trained.score_BK).any()


@pytest.mark.parametrize("which", ["flat", "deep"])
def test_usual_scores_are_those_of_all_that_is_ranked(which, request):
    tagger = opened(request.getfixturevalue(which))
    label_J = np.flatnonzero(tagger.trained_L)[::3]
    forgetful = tagger.forgetting(spread(label_J, len(tagger.labels)))
    features = forgetful.encode([*TEXTS, "Sharpening kitchen knives", ""])
    ranked = moments_by_rank(forgetful.rank, features, label_J, len(tagger.labels))
    np.testing.assert_allclose(forgetful.moments(features, label_J), ranked, atol=CLOSE)
    assert (ranked[0] != 0).any()


def test_an_explanation_adds_up(flat, deep):
    for uri in (flat, deep):
        tagger = opened(uri)
        trained = tagger.search(tagger.encode(TEXTS), 1, tagger.trained_L)
        best = tagger.labels.ids[trained.label_BK[1, 0]]
        found = tagger.explain(TEXTS[1], best)
        assert found.trained
        assert 0 < len(found.features) <= 10
        assert {"sauerkraut", "cabbage", "salt"} & {term for term, _ in found.features}
        if len(tagger.trees) == 1:
            assert found.steps[-1].score == pytest.approx(found.score, abs=1e-4)
        assert [step.score for step in found.steps] == sorted((step.score for step in found.steps), reverse=True)
    unseen = next(i for i, seen in zip(tagger.labels.ids, tagger.labels.seen or (), strict=True) if not seen)
    text = tagger.labels.full_texts[tagger.labels.index[unseen]]
    by_text = tagger.explain(text, unseen)
    assert not by_text.trained
    assert by_text.steps == ()
    assert sum(value for _, value in by_text.features) <= 1.0001
    assert "untrained: by its text" in by_text.lines()[0]
    with pytest.raises(SettingsError, match="no such label; got 'nonsense'"):
        tagger.explain(text, "nonsense")


def test_a_text_without_a_known_word_gets_no_label_and_is_flagged(flat):
    tagger = opened(flat)
    features = tagger.encode(["qqqq zzzz", TEXTS[0]])
    assert features.blank_B.tolist() == [True, False]
    assert tagger.search(features, 10).empty_B.tolist() == [True, False]
    assert tagger.tag(["qqqq zzzz"]).empty_B.tolist() == [True]  # the way of single texts
    told = tagger.explain("qqqq zzzz", tagger.labels.ids[0])
    assert (told.blank, told.score, told.steps) == (True, 0.0, ())
    with TestClient(make_api(tagger, 4)) as client:
        answer = client.post("/v1/tag", json={"texts": ["qqqq zzzz", TEXTS[0]]}).json()
    assert [row.get("blank", False) for row in answer["results"]] == [True, False]
    assert [bool(row["tags"]) for row in answer["results"]] == [False, True]


def test_more_labels_than_there_are_is_all_of_them(flat):
    tagger = opened(flat)
    found = tagger.tag(TEXTS, 10**12)
    assert found.label_BK.shape == (len(TEXTS), len(tagger.labels))
    assert_same_ranking(ranking(tagger.tag(TEXTS[:1], 10**12)), ranking(found))
    trained = set(np.flatnonzero(tagger.train_count_L > 0).tolist())
    for row in found.label_BK:  # all trained labels; of the others those that share a word
        named = row[row != PAD].tolist()
        assert len(set(named)) == len(named)
        assert trained <= set(named)


def test_a_night_tags_as_the_bundle_does(flat, tmp_path):
    path, table = write_texts(tmp_path / "docs.parquet", TEXTS), str(tmp_path / "tags")
    retag(retag_run(str(path), flat, table))
    tagger = opened(flat)
    for row, tags in enumerate(named(tagger.keep(tagger.tag(TEXTS)), tagger.labels)):
        kept = TagTable(Store(), table).find(f"d{row:06d}")
        assert_same_ranking(list(zip(kept["label_ids"], kept["scores"], strict=True)), tags)


def test_limits_of_a_request_reach_the_search(flat):
    tagger = opened(flat)
    wanted = list(tagger.labels.ids[5:9])
    with TestClient(make_api(tagger, 4)) as client:
        answer = client.post("/v1/tag", json={"texts": TEXTS, "k": 50, "allow": wanted}).json()
    trained = {name for name in wanted if tagger.train_count_L[tagger.labels.index[name]]}
    for row in answer["results"]:
        assert trained <= {tag["label_id"] for tag in row["tags"]} <= set(wanted)


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_weight_file_is_named(flat, tmp_path, damage):
    version = load(flat).bundle_id
    Store().download(join(flat, version), tmp_path / version)
    file = tmp_path / version / "tree0" / "entry.npy"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data if damage == "flipped" else data[:-4])
    with pytest.raises(BundleError, match=r"tree0/entry\.npy"):
        load(str(tmp_path / version))


def test_loading_and_tagging_need_neither_torch_nor_transformers(flat):
    program = (
        "import sys, raytagger\n"
        f"raytagger.load({flat!r}).tag(['some text'])\n"
        "print([name for name in ('torch', 'transformers', 'ray', 'sklearn') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding": "pifa+magic"}, "tree.embedding; got 'magic'; expected pifa, label2vec, text"),
        ({"negatives": "none"}, "tree.negatives; got 'none'"),
        ({"combine": "median"}, "tree.combine; got 'median'"),
        ({"preset": "mine"}, "tree.preset; got 'mine'"),
        ({"trees": -1}, "tree.trees; got -1; expected 0 or more"),
        (
            {"transform": "noop", "combiner": "product"},
            "tree.combiner; got 'product'; expected sum or none with noop",
        ),
        ({"leaf": 257}, "tree.leaf; got 257; expected 1 to 256"),
        ({"dense_weight": -1.0}, "tree.dense_weight; got -1.0; expected 0 or more"),
        ({"eps": 0.0}, "eps of the rankers; got 0.0"),
        ({"features": ("words",)}, r"tree.features; got \['words'\]; expected one or more of all, terms"),
        ({"transform": "l9-hinge"}, "got 'l9-hinge'"),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_read(tmp_path, change, message):
    with pytest.raises(SettingsError, match=message):
        fit(small_run(str(tmp_path), **change))
    assert not list(Path(tmp_path).iterdir())
