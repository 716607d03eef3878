"""The HTTP encoder against a real server that speaks the OpenAI embeddings protocol over static vectors."""

import dataclasses
import json
import socket
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from raytagger.bisect import tag_bisecting
from raytagger.bundle import load
from raytagger.corpus.limit import RejectLimit
from raytagger.corpus.output import SMALL
from raytagger.encoders import http, load_encoder, open_encoder, save_encoder
from raytagger.errors import CorpusError, RaytaggerError, RejectsError, SettingsError
from raytagger.recipes.fit import fit
from raytagger.serve.api import make_api
from raytagger.settings import EncoderSettings, FitRun, OutputSettings, SearchSettings, SourceSettings
from tests.corpora import small_bundle
from tests.endpoint import serving
from tests.equal import CLOSE

TEXTS = [f"text number {number}" for number in range(70)]  # three requests
LONG = "a long text " * 100
TEI = "batch size 32 > maximum allowed batch size 8"
REFUSALS = [
    (413, TEI),
    (413, ""),
    (422, TEI),
    (422, "`inputs` must have less than 512 tokens. Given: 900"),
    (422, ""),
    (400, ""),
    (400, "This model's maximum context length is 512 tokens, however you requested 900 tokens."),
]


@pytest.fixture(scope="module")
def words(store):
    return load_encoder(EncoderSettings(kind="static", path="wordllama"), store)


@pytest.fixture
def endpoint(words):
    with serving(words) as served:
        yield served


@pytest.fixture
def encoder(endpoint, store, monkeypatch):
    monkeypatch.setattr(http, "PAUSE_S", 0.001)
    monkeypatch.setenv("EMBEDDINGS_KEY", "secret-token")
    return load_encoder(settings_of(endpoint), store)


def settings_of(endpoint):
    return EncoderSettings(kind="http", path=endpoint.url + "/", model="minilm", key_variable="EMBEDDINGS_KEY")


def test_a_blank_text_is_not_sent(encoder, endpoint, words):
    """Many endpoints refuse it; a label without a text must not end a fit, nor a bundle fail to open."""
    endpoint.refuse(lambda texts: not all(text.strip() for text in texts), 400, "input must not be empty")
    vector_BD = encoder.encode(["", "sailing", " \n"]).vector_BD
    np.testing.assert_allclose(vector_BD[1:2], words.encode(["sailing"]).vector_BD, atol=CLOSE)
    assert not vector_BD[[0, 2]].any()
    assert encoder.encode([""]).vector_BD.shape == (1, words.width)


def test_embeddings_are_those_of_the_model_behind(encoder, endpoint, words):
    assert encoder.width == 256
    endpoint.asked.clear()
    found = encoder.encode(TEXTS, prompt="query: ")
    np.testing.assert_allclose(found.vector_BD, words.encode(TEXTS, "query: ").vector_BD, atol=1e-3)
    assert not found.cut_B.any()
    assert [len(body["input"]) for body in endpoint.asked] == [32, 32, 6]
    assert {body["model"] for body in endpoint.asked} == {"minilm"}
    assert encoder.encode([]).vector_BD.shape == (0, 256)


@pytest.mark.parametrize(("status", "said"), REFUSALS)
def test_what_is_too_large_at_once_is_asked_in_halves(encoder, endpoint, words, status, said):
    endpoint.refuse_large(8, 500, status, said)
    found = encoder.encode(TEXTS)
    np.testing.assert_allclose(found.vector_BD, words.encode(TEXTS).vector_BD, atol=1e-3)
    assert [len(body["input"]) for body in endpoint.asked] == [32, 16, 8, 8, 16, 8, 8] * 2 + [6]


def test_how_many_texts_are_asked_at_once_is_a_setting(endpoint, store):
    encoder = load_encoder(dataclasses.replace(settings_of(endpoint), batch_texts=50), store)
    encoder.encode(TEXTS)
    assert [len(body["input"]) for body in endpoint.asked] == [50, 20]
    with pytest.raises(SettingsError, match=r"encoder\.batch_texts; got 0"):
        load_encoder(dataclasses.replace(settings_of(endpoint), batch_texts=0), store)


@pytest.mark.parametrize(("status", "said"), REFUSALS)
def test_a_text_that_is_too_long_for_the_endpoint_is_found_and_put_aside(encoder, endpoint, status, said):
    endpoint.refuse_large(32, 500, status, said)
    with pytest.raises(CorpusError, match=f"refuses a text; got .*HTTP {status}.*a long text"):
        encoder.encode([LONG])
    texts = [*TEXTS[:40], LONG, *TEXTS[40:]]
    done = tag_bisecting(lambda some: (encoder.encode(some).vector_BD, 0), texts)
    assert done.rows == [row for row in range(71) if row != 40]
    (rejected,) = done.rejected
    assert (rejected.row, rejected.reason) == (40, "tagging_failed")
    assert f"HTTP {status}" in rejected.error
    np.testing.assert_allclose(np.concatenate(done.parts), encoder.encode(TEXTS).vector_BD, atol=10 * CLOSE)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_text_that_the_endpoint_refuses_for_whatever_reason_costs_no_other(encoder, endpoint, status):
    endpoint.refuse(lambda texts: "POISON" in texts, status, b"no")
    done = tag_bisecting(lambda some: (encoder.encode(some).vector_BD, 0), [*TEXTS, "POISON"])
    assert done.rows == list(range(70))
    assert [(bad.row, bad.reason) for bad in done.rejected] == [(70, "tagging_failed")]
    assert f"HTTP {status} 'no' for 'POISON'" in done.rejected[0].error


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, {"error": {"message": "The model `minilm` does not exist"}}),
        (404, {"detail": "Not Found"}),
        (405, {"detail": "Method Not Allowed"}),
        (422, {"detail": [{"loc": ["body", "encoding_format"], "msg": "Field required", "type": "missing"}]}),
        (301, {}),
    ],
)
def test_a_refusal_that_is_no_texts_fault_ends_the_run(encoder, endpoint, status, answer):
    endpoint.answer = lambda texts: (status, answer)
    words = next(iter(answer), "")
    with pytest.raises(
        SettingsError, match=rf"refuses the request with HTTP {status}; got .*{words}.*encoder\.model"
    ):
        tag_bisecting(lambda some: (encoder.encode(some).vector_BD, 0), TEXTS)
    assert len(endpoint.asked) <= 7  # 32, 16, … 1, and a text of ours


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_names_the_variable(encoder, endpoint, status, monkeypatch):
    endpoint.answer = lambda texts: (status, {"error": "maximum security"})
    for known in ("holds another key", "is not set"):
        with pytest.raises(
            SettingsError, match=f"HTTP {status}; got .*security.*Set EMBEDDINGS_KEY .*{known}"
        ) as caught:
            tag_bisecting(lambda some: (encoder.encode(some).vector_BD, 0), TEXTS)
        assert "secret-token" not in str(caught.value)
        monkeypatch.delenv("EMBEDDINGS_KEY", raising=False)
    assert len(endpoint.asked) == 2


def test_a_request_with_such_a_text_is_refused(endpoint, tmp_path):
    tagger = load(small_bundle(str(tmp_path / "out"), "dense", EncoderSettings(kind="http", path=endpoint.url)))
    endpoint.refuse_large(32, 500, 413, "")
    with TestClient(make_api(tagger, 4)) as client:
        answer = client.post("/v1/tag", json={"texts": ["short", LONG]})
        assert answer.status_code == 422
        assert "refuses a text" in answer.json()["detail"][0]["msg"]
        assert client.post("/v1/tag", json={"texts": ["short"]}).status_code == 200


def test_a_document_that_the_endpoint_refuses_does_not_end_a_fit(endpoint, tmp_path):
    endpoint.refuse(lambda texts: "POISON" in texts, 413, b"")
    lines = [{"doc_id": f"d{n}", "text": "POISON" if n == 3 else "Prune plums."} for n in range(9)]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    said = []
    fitted = fit(
        FitRun(
            source=SourceSettings(documents=str(tmp_path / "docs.jsonl"), labels=str(SMALL / "labels.jsonl")),
            encoder=EncoderSettings(kind="http", path=endpoint.url),
            search=SearchSettings(kind="dense"),
            output=OutputSettings(str(tmp_path / "out")),
        ),
        say=said.append,
    )
    (warning,) = [line for line in said if "cannot be tagged" in line]
    assert warning.startswith("warning: 1 of the first 9 documents cannot be tagged; the first, d3: CorpusError")
    assert warning.removeprefix("warning: ") in fitted.warnings
    assert fitted.share_blank == 0  # of the others


def test_what_an_endpoint_answers_is_told_without_escapes(endpoint, encoder):
    """Also where the error stands within that of the limit."""
    said = """{"error": "it's \\"too\\" long"}"""
    endpoint.refuse(lambda texts: LONG in texts, 413, said.encode())
    limit = RejectLimit(SourceSettings("docs.jsonl"), read=60)
    for bad in tag_bisecting(lambda some: (encoder.encode(some).vector_BD, 0), ["a", LONG]).rejected:
        limit.reject("d1", bad.reason, bad.error)
    with pytest.raises(RejectsError) as caught:
        limit.check()
    told = "1 of 60 documents of docs.jsonl was rejected; got 'tagging_failed 1, such as d1: CorpusError: the "
    told += f"embeddings endpoint refuses a text; got 'HTTP 413 '{said}' for 'a long text"
    assert str(caught.value).startswith(told)


def test_a_bundle_that_cannot_be_tried_out_does_not_fail_a_fit_that_has_published_it(endpoint, tmp_path):
    endpoint.refuse(lambda texts: "Prune plums." in texts, 401, {"error": "quota"})
    (tmp_path / "docs.jsonl").write_text(json.dumps({"doc_id": "d", "text": "Prune plums."}))
    run = FitRun(
        source=SourceSettings(documents=str(tmp_path / "docs.jsonl"), labels=str(SMALL / "labels.jsonl")),
        encoder=EncoderSettings(kind="http", path=endpoint.url),
        search=SearchSettings(kind="dense"),
        output=OutputSettings(str(tmp_path / "out")),
    )
    fitted = fit(run)
    (warning,) = [line for line in fitted.warnings if "could not be tried" in line]
    assert "HTTP 401" in warning
    assert load(str(tmp_path / "out")).bundle_id == fitted.version


def test_the_token_comes_from_the_environment(encoder, endpoint, store, monkeypatch, tmp_path):
    encoder.encode(["a"])
    assert endpoint.headers[-1]["Authorization"] == "Bearer secret-token"
    monkeypatch.delenv("EMBEDDINGS_KEY")
    encoder.encode(["a"])
    assert "Authorization" not in endpoint.headers[-1]
    save_encoder(encoder, settings_of(endpoint), tmp_path / "saved")
    assert all(
        b"secret-token" not in file.read_bytes() for file in (tmp_path / "saved").rglob("*") if file.is_file()
    )
    again = open_encoder(tmp_path / "saved")
    np.testing.assert_array_equal(again.encode(["a"]).vector_BD, encoder.encode(["a"]).vector_BD)
    assert again.identity == encoder.identity


@pytest.mark.parametrize("statuses", [[429], [503, 500], [429] * 4])
def test_a_busy_endpoint_is_asked_again(encoder, endpoint, statuses):
    endpoint.statuses = list(statuses)
    assert encoder.encode(["a"]).vector_BD.shape == (1, 256)
    assert len(endpoint.asked) == len(statuses) + 1


def test_one_that_stays_busy_is_an_error(encoder, endpoint):
    endpoint.statuses = [429] * 5
    with pytest.raises(
        RaytaggerError, match=rf"5 tries.*429 {endpoint.url} .*later.*encoder\.batch_texts"
    ) as caught:
        tag_bisecting(lambda some: (encoder.encode(some).vector_BD, 0), ["a", "b"])
    assert endpoint.statuses == []
    assert type(caught.value) is RaytaggerError  # a lack of memory would be taken for a text's fault


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>welcome</html>"),
        (200, []),
        (200, None),
        (200, {"data": None}),
        (200, {"data": [{"embedding": [1.0, 2.0]}]}),
        (200, {"data": [{"index": 0, "embedding": "AAAA"}]}),
        (200, {"data": [{"index": 0, "embedding": []}]}),
        (200, {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]}),
    ],
    ids=str,
)
def test_another_form_of_answer_is_refused(encoder, endpoint, answer):
    endpoint.answer = lambda texts: answer
    with pytest.raises(SettingsError, match=r"unexpected form.*Check encoder\.path"):
        encoder.encode(["a", "b"])


def test_lost_texts_are_refused(encoder, endpoint):
    endpoint.answer = lambda texts: endpoint.embed(texts[1:])
    with pytest.raises(SettingsError, match="lost texts; got 1; expected 2"):
        encoder.encode(["a", "b"])


def test_an_answer_that_is_no_number_names_the_text(encoder, endpoint):
    endpoint.answer = lambda texts: (200, b'{"data": [{"index": 0, "embedding": [NaN, 1.0]}]}')
    with pytest.raises(CorpusError, match="the text that fails"):
        encoder.encode(["the text that fails"])


def test_an_unreachable_endpoint_says_what_to_check(store):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{unused.getsockname()[1]}/v1", "localhost:99", "http://[::1", "nonsense"):
            encoder = load_encoder(EncoderSettings(kind="http", path=url), store)
            with pytest.raises(SettingsError, match=r"cannot be reached.*Check encoder\.path"):
                encoder.encode(["a"])


def test_identity_is_address_and_model(encoder, endpoint, store):
    def identity(**settings: Any):
        return load_encoder(
            EncoderSettings(kind="http", **{"path": endpoint.url, "model": "minilm", **settings}), store
        ).identity

    assert identity() == identity(batch_tokens=1, key_variable="X") == encoder.identity
    assert len({identity(), identity(model="other"), identity(path=endpoint.url + "/x")}) == 3
