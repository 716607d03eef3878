"""Documents of which nothing is known: no score, no tag, whatever the bundle's kind; and what is said of them."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from deltalake import DeltaTable, Schema
from safetensors.numpy import save_file
from starlette.testclient import TestClient
from tokenizers import Tokenizer, models, pre_tokenizers

from raytagger.bundle import load
from raytagger.bundle.blend import BlendFeatures
from raytagger.bundle.frozen import FrozenFeatures
from raytagger.bundle.panel import Panel
from raytagger.calibration import Curve
from raytagger.corpus.output import SMALL
from raytagger.encoders import load_encoder
from raytagger.evaluate import Asked, evaluate
from raytagger.recipes.fit import fit
from raytagger.schema import PAD, TAG_SCHEMA, Scores
from raytagger.search.blend import Gate, unite, unusual
from raytagger.serve.api import make_api
from raytagger.settings import (
    EncoderSettings,
    FitRun,
    OutputSettings,
    SourceSettings,
    Xml0Settings,
)
from raytagger.store import Store
from raytagger.store.tags import DataFile, TagTable
from raytagger.stream.isolate import IsolatedTagger
from raytagger.stream.job import TagJob
from raytagger.stream.run import TagSummary
from raytagger.stream.units import Done, read_marker
from raytagger.tables import figure_lines
from tests.corpora import small_bundle
from tests.equal import assert_same_scores
from tests.tiny import tiny_decoder, tiny_encoder

UNKNOWN = "ꙮꙮ ⵣⵣⵣ"  # no encoder's tokenizer and no vocabulary of these tests has any of it
KNOWN = "Prune plums in high summer."
SOURCE = SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl"))


def word_vectors(folder):
    """Static vectors of a few words, and of the token that stands for all others."""
    words = ["[UNK]", "prune", "plums", "summer", "bread", "soup", "garden", "baking", "in", "high"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32)
    save_file({"table": table}, folder / "model.safetensors")
    return EncoderSettings(kind="static", path=str(folder))


def test_a_document_that_the_cascade_does_not_ask_about_is_not_blank():
    popular = FrozenFeatures(3, None, None, np.zeros(3, bool))
    words = FrozenFeatures(2, None, sp.csr_matrix(np.array([[1.0], [0.0]])), np.zeros(2, bool))
    features = BlendFeatures((popular, words), sp.csr_matrix((3, 1)), np.zeros(3, bool), np.array([1, 2]))
    assert features.blank_B.tolist() == [False, False, True]


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    return word_vectors(tmp_path_factory.mktemp("static") / "words")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, static):
    """A folder a kind, all over the small corpus."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {kind: small_bundle(str(folder / kind), kind, static) for kind in ("dense", "tfidf", "mean", "bm25")}
    made["popularity"] = small_bundle(str(folder / "popularity"), "popularity", static)
    made["xml0"] = str(folder / "xml0")
    xml0 = Xml0Settings(base=made["tfidf"])
    fit(FitRun("xml0", SOURCE, static, xml0=xml0, output=OutputSettings(made["xml0"])))
    return made


@pytest.mark.parametrize("kind", ["dense", "tfidf", "mean", "bm25", "xml0"])
def test_a_document_of_which_nothing_is_known_gets_no_label(bundles, kind):
    tagger = load(bundles[kind])
    features = tagger.encode([UNKNOWN, KNOWN, ""])
    assert features.blank_B.tolist() == [True, False, True]
    for found in (tagger.search(features, 5), tagger.search(features, 5, np.ones(len(tagger.labels), bool))):
        assert found.empty_B.tolist() == [True, False, True]
        assert np.isneginf(found.score_BK[[0, 2]]).all()
    assert tagger.keep(tagger.tag([UNKNOWN], 5)).empty_B.tolist() == [True]


def test_popularity_is_the_same_for_every_document_and_of_no_untrained_label(bundles):
    tagger = load(bundles["popularity"])
    found = tagger.tag([UNKNOWN, KNOWN], len(tagger.labels))
    assert found.label_BK[0].tolist() == found.label_BK[1].tolist()
    named = found.label_BK[0][found.label_BK[0] != PAD]
    assert set(named.tolist()) == set(np.flatnonzero(tagger.train_count_L > 0).tolist())


@pytest.mark.parametrize("kind", ["tfidf", "bm25"])
def test_labels_that_share_no_word_never_fill_up_a_ranking(bundles, kind):
    tagger = load(bundles[kind])
    found = tagger.tag([KNOWN], len(tagger.labels))
    named = found.label_BK[0] != PAD
    assert 0 < named.sum() < len(tagger.labels)
    assert (found.score_BK[0, named] > 0).all()


@pytest.mark.parametrize("kind", ["dense", "tfidf", "mean", "bm25", "popularity", "xml0"])
def test_more_labels_than_there_are_is_all_of_them(bundles, kind):
    tagger, most = load(bundles[kind]), 10**12  # no machine has room for so many places
    labels = len(tagger.labels)
    features, odd_L = tagger.encode([KNOWN, UNKNOWN]), np.arange(labels) % 2 == 1
    for found, same in (
        (tagger.tag([KNOWN, UNKNOWN], most), tagger.tag([KNOWN, UNKNOWN], labels)),
        (tagger.search(features, most), tagger.search(features, labels)),
        (tagger.rank(features, most, odd_L), tagger.rank(features, labels, odd_L)),
    ):
        assert found.label_BK.shape == (2, labels)
        assert_same_scores(found, same)


@pytest.mark.parametrize("prompt", ["", "query: "])
def test_an_encoder_gives_the_zero_vector_to_a_text_that_it_cannot_read(tmp_path, static, prompt):
    encoders = {
        "transformer": load_encoder(tiny_encoder(tmp_path / "tiny"), Store()),
        "pieces": load_encoder(dataclasses.replace(tiny_encoder(tmp_path / "tiny"), long="mean"), Store()),
        "causal": load_encoder(tiny_decoder(tmp_path / "causal"), Store()),
        "static": load_encoder(static, Store()),
    }
    sentence = dataclasses.replace(tiny_encoder(tmp_path / "tiny"), kind="sentence-transformers")
    encoders["sentence-transformers"] = load_encoder(sentence, Store())
    for name, encoder in encoders.items():
        unknown = "" if name == "causal" else UNKNOWN  # tokens of bytes leave nothing unknown
        vector_BD = encoder.encode([unknown, "plums", f"{unknown} plums", unknown * 30], prompt).vector_BD
        assert np.any(vector_BD, axis=1).tolist() == [False, True, True, False], name
        assert np.linalg.norm(vector_BD[1]) == pytest.approx(1, abs=1e-3), name


def test_a_member_that_knows_nothing_of_a_document_adds_nothing_to_a_blend():
    both = Scores(np.array([[3, 1]], np.int32), np.array([[0.9, 0.4]], np.float32))
    none = Scores(np.full((1, 2), PAD, np.int32), np.full((1, 2), -np.inf, np.float32))
    candidates = unite([both, none], np.array([[False], [True]]))
    curve = Curve(np.array([0.0, 1.0]), np.array([-3.0, 2.0]), "platt")
    gate = Gate(np.ones(10), 0.0)
    panel = Panel((0, 1), (curve, curve), gate, curve, np.zeros(4), gate)
    odds_MBC = panel.member_odds(candidates)
    np.testing.assert_allclose(odds_MBC[0], curve.odds(candidates.score_MBC[0]))
    np.testing.assert_array_equal(odds_MBC[1], odds_MBC[0])
    away_MBC = unusual(candidates, np.full((2, 4), 0.3, np.float32), np.full((2, 4), 0.1, np.float32))
    np.testing.assert_allclose(away_MBC[0], [[1.0, 6.0]], atol=1e-5)
    assert (away_MBC[1] == 0).all()


@pytest.mark.parametrize("kind", ["dense", "tfidf", "xml0"])
def test_the_endpoint_says_what_is_blank(bundles, kind):
    with TestClient(make_api(load(bundles[kind]), 4)) as client:
        answer = client.post("/v1/tag", json={"texts": [UNKNOWN, KNOWN]}).json()["results"]
        assert answer[0] == {"tags": [], "blank": True}
        assert answer[1]["tags"]
        assert not answer[1].get("blank", False)
        # Nothing is allowed: the second text has labels, but none that was asked for.
        nothing = client.post("/v1/tag", json={"texts": [UNKNOWN, KNOWN], "allow": []}).json()["results"]
        assert [one.get("blank", False) for one in nothing] == [
            True,
            False,
        ]


@pytest.mark.slow
def test_an_isolated_process_says_it_too(bundles):
    isolated = IsolatedTagger(TagJob(bundles["tfidf"], SourceSettings(), 3, "", "", ""))
    try:
        scores, _ = isolated.tag([UNKNOWN, KNOWN])
    finally:
        isolated.close()
    assert scores.empty_B.tolist() == [True, False]


def test_a_summary_says_the_share_and_warns_above_five_percent():
    summary = TagSummary()
    summary.add(Done("000000-000000000000", "a.parquet", 1, 95, blank=5))
    assert "5.3 % blank" in summary.line("out")
    assert summary.line("out").splitlines()[1].startswith("warning: 5.3 % of the documents are blank: no word")
    summary.add(Done("000000-000000000095", "b.parquet", 1, 5))
    assert summary.line("out").count("\n") == 0
    assert "5.0 % blank" in summary.line("out")


def test_a_marker_of_an_older_version_is_read(tmp_path):
    old = {"unit": "000000-000000000000", "path": "a.parquet", "size": 1, "rows": 3, "rejects": [], "cut": 1}
    (tmp_path / "a.json").write_text(json.dumps(old))
    assert read_marker(Store(), str(tmp_path / "a.json")).blank == 0


def test_an_evaluation_says_the_share(bundles, tmp_path):
    documents = [json.loads(line) for line in (SMALL / "docs.jsonl").read_text().splitlines()]
    documents = [one for one in documents if one["split"] == "test"][:20]
    for one in documents[:2]:
        one["text"] = UNKNOWN
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in documents))
    source = SourceSettings(documents=str(tmp_path / "docs.jsonl"))
    figures = evaluate(load(bundles["bm25"]), Store(), source, Asked())
    assert figures["share_blank"] == pytest.approx(0.1)
    lines = "\n".join(figure_lines(figures))
    assert "; 10.0 % blank" in lines
    assert all(f"\n{name} " in f"\n{lines}" for name in ("P@5", "R@10", "micro_F1"))
    assert "warning: 10.0 % of the documents are blank" in lines
    figures["share_blank"] = 0.05
    assert "warning" not in "\n".join(figure_lines(figures))


def test_a_fit_says_the_share(static, tmp_path):
    lines = [{"doc_id": str(n), "text": UNKNOWN if n < 3 else KNOWN} for n in range(10)]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    source = dataclasses.replace(SOURCE, documents=str(tmp_path / "docs.jsonl"))
    fitted = fit(FitRun(source=source, encoder=static, output=OutputSettings(str(tmp_path / "out"))))
    assert fitted.share_blank == pytest.approx(0.3)
    assert fitted.as_dict()["share_blank"] == pytest.approx(0.3)
    assert "30.0 % blank" in fitted.line()
    assert "warning: 30.0 % of the documents are blank" in fitted.line()


# The tag table of a version that had no such column

OLD = pa.schema([field for field in TAG_SCHEMA if field.name != "blank"])


def write_night(root, name, schema):
    folder = root / "data" / name / "outcome=tagged"
    folder.mkdir(parents=True)
    row = {"doc_id": name, "label_ids": [], "scores": [], "run_id": name, "blank": True}
    kept = pa.schema([field for field in schema if field.name != "outcome"])
    pq.write_table(pa.Table.from_pylist([row], schema=kept), folder / "unit.parquet")
    path = f"data/{name}/outcome=tagged/unit.parquet"
    return DataFile(path, (root / path).stat().st_size, 1, "tagged")


def test_an_older_table_is_read_and_gets_the_column_with_the_next_commit(tmp_path):
    DeltaTable.create(str(tmp_path), schema=Schema.from_arrow(OLD), partition_by=["outcome"])
    table = TagTable(Store(), str(tmp_path))
    delta = table.open()
    table._transact(delta, [write_night(tmp_path, "old", OLD)], {"run_id": "old", "inputs_id": "1"})
    assert table.find("old")["blank"] is None
    stale = write_night(tmp_path, "old again", OLD)
    version = table.commit([stale, write_night(tmp_path, "new", TAG_SCHEMA)], "2", {"run_id": "new"})
    assert (table.find("old again")["blank"], table.find("new")["blank"]) == (None, True)
    delta = table.open()
    assert delta.version() == version
    assert [field.name for field in delta.schema().fields] == TAG_SCHEMA.names
    assert pa.concat_tables(table.read(delta)).num_rows == 2
    assert [commit["run_id"] for commit in table.history() if "run_id" in commit] == ["new", "old"]
    again = table.commit([write_night(tmp_path, "next", TAG_SCHEMA)], "3", {"run_id": "next"})
    assert again == version + 1
