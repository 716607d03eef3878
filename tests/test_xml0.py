"""XML0 from corpus to bundle: the base is fitted, and the encoder fine-tuned, on the way."""

import dataclasses

import pytest
from starlette.testclient import TestClient

from raytagger.bundle import load, named
from raytagger.bundle.xml0 import Xml0Tagger
from raytagger.corpus.output import SMALL
from raytagger.errors import CorpusError
from raytagger.evaluate import Asked, evaluate
from raytagger.recipes.fit import fit
from raytagger.retag.run import retag
from raytagger.serve.api import make_api
from raytagger.settings import FitRun, OutputSettings, SearchSettings, SourceSettings, TreeSettings, Xml0Settings
from raytagger.store import Store, join
from raytagger.store.tags import TagTable
from tests.corpora import STATIC, retag_run, write_texts
from tests.equal import assert_same_ranking, assert_same_scores
from tests.tiny import tiny_encoder
from tests.unit.test_xml0 import TEXTS, opened

SOURCE = SourceSettings(documents=str(SMALL / "docs.jsonl"), labels=str(SMALL / "labels.jsonl"))


def small_run(out: str, **xml0) -> FitRun:
    """XML0 over a linear base that reads the static vectors too."""
    return FitRun(
        method="xml0",
        source=SOURCE,
        encoder=STATIC,
        tree=TreeSettings(dense_weight=0.7),
        xml0=Xml0Settings(**xml0),
        search=SearchSettings(k=3),
        output=OutputSettings(out),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("xml0") / "bundle")
    fit(small_run(out))
    return out


def test_it_finds_seen_labels_as_its_base_does_and_unseen_ones(made):
    found = evaluate(load(made), Store(), SOURCE, Asked())
    alone = evaluate(load(join(made, "members", "xrlinear")), Store(), SOURCE, Asked())
    assert found["nDCG@5"] > alone["nDCG@5"] - 0.02
    assert found["UR@1"] > 0.3  # chance is 0.1
    assert load(made).manifest["calibrated"]
    assert found["ECE_seen"] < 0.1  # 63 documents


def test_the_base_inside_reads_documents_once(made):
    tagger = opened(made)
    features = tagger.encode(TEXTS)
    assert features.base.doc_BE is features.doc_BE
    alone = dataclasses.replace(tagger.base).encode(TEXTS)
    assert (alone.doc_BE == features.doc_BE).all()


def test_a_second_fit_takes_the_base_as_it_is(made):
    said: list[str] = []
    assert fit(small_run(made), say=said.append).version == load(made).bundle_id
    assert {line.split(":")[0] for line in said if "made already" in line} == {"terms", "features", "tree"}


@pytest.mark.s3
def test_object_storage_gives_the_same_answers(made, bucket):
    uri = join(bucket, "xml0")
    run = small_run(uri)
    fit(dataclasses.replace(run, xml0=Xml0Settings(base=join(made, "members", "xrlinear"))))
    assert_same_scores(load(uri).tag(TEXTS), load(made).tag(TEXTS))


def test_a_fine_tuned_encoder_is_made_once_and_used_for_both_scores(made, tmp_path):
    out = str(tmp_path / "out")
    run = small_run(out, base=join(made, "members", "xrlinear"), pairs=64, learning_rate=1e-3)
    run = dataclasses.replace(run, encoder=tiny_encoder(tmp_path / "tiny"))
    said: list[str] = []
    first = fit(run, say=said.append).version
    assert any(line.startswith("64 pairs: squared distance") for line in said)
    tagger, plain = opened(out), dataclasses.replace(run, xml0=Xml0Settings(base=run.xml0.base))
    again: list[str] = []
    assert fit(run, say=again.append).version == first
    assert sum("encoder: made already" in line for line in again) == 1
    fit(dataclasses.replace(plain, output=OutputSettings(str(tmp_path / "plain"))))
    other = opened(str(tmp_path / "plain"))
    assert tagger.encoder.identity != other.encoder.identity
    assert abs(tagger.label_LE - other.label_LE).max() > 0.01
    encoded = tagger.encoder.encode(tagger.labels.full_texts[:3]).vector_BD
    assert abs(encoded - tagger.label_LE[:3]).max() < 1e-3


def test_a_night_and_the_endpoint_tag_as_the_bundle_does(made, tmp_path):
    path, table = write_texts(tmp_path / "docs.parquet", TEXTS), str(tmp_path / "tags")
    retag(retag_run(str(path), made, table))
    tagger = load(made)
    assert isinstance(tagger, Xml0Tagger)
    expected = named(tagger.keep(tagger.tag(TEXTS)), tagger.labels)
    with TestClient(make_api(tagger, 4)) as client:
        answer = client.post("/v1/tag", json={"texts": TEXTS, "k": 3}).json()
    for row, tags in enumerate(expected):
        kept = TagTable(Store(), table).find(f"d{row:06d}")
        assert_same_ranking(list(zip(kept["label_ids"], kept["scores"], strict=True)), tags)
        said = [(tag["label_id"], tag["score"]) for tag in answer["results"][row]["tags"]]
        assert_same_ranking(said, named(tagger.tag(TEXTS, 3), tagger.labels)[row])


def test_a_corpus_without_a_validation_document_with_labels_is_refused(made, tmp_path):
    (tmp_path / "docs.jsonl").write_text('{"id": "a", "text": "bread", "labels": [], "split": "val"}\n')
    run = small_run(str(tmp_path / "out"), base=join(made, "members", "xrlinear"))
    source = dataclasses.replace(SOURCE, documents=str(tmp_path / "docs.jsonl"))
    with pytest.raises(CorpusError, match="none of the validation split with a label"):
        fit(dataclasses.replace(run, source=source))
