"""The HTTP API without Ray: what it answers and what it refuses."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from starlette.testclient import TestClient

from raytagger.bundle import load, named
from raytagger.client import Client
from raytagger.errors import CapacityError, CorpusError, RaytaggerError, SettingsError
from raytagger.serve.api import make_api
from raytagger.serve.tokens import read_tokens
from raytagger.store import Store
from tests.corpora import small_bundle
from tests.equal import assert_same_ranking

TEXTS = ["Prune plums in high summer.", "Sauerkraut needs salt and patience.", "x"]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return load(small_bundle(str(tmp_path_factory.mktemp("bundle") / "out")))


@pytest.fixture(scope="module")
def api(tagger):
    with TestClient(make_api(tagger, max_texts=4)) as client:
        yield client


def ask(api, **body: object):
    return api.post("/v1/tag", json=body)


def flaw_of(answer):
    assert answer.status_code == 422, answer.text
    flaw = answer.json()["detail"][0]
    assert set(flaw) == {"loc", "msg", "type"}
    return f"{'.'.join(map(str, flaw['loc'][1:]))}: {flaw['msg']}"


@pytest.mark.parametrize("k", [1, 5, 100])
def test_it_answers_as_the_bundle_does(api, tagger, k):
    answer = ask(api, texts=TEXTS, k=k).raise_for_status().json()
    assert answer["bundle"] == tagger.bundle_id
    assert answer["label_set"] == tagger.labels.fingerprint
    expected = named(tagger.tag(TEXTS, k), tagger.labels)
    for row, tags in zip(answer["results"], expected, strict=True):
        assert_same_ranking([(tag["label_id"], tag["score"]) for tag in row["tags"]], tags)
        titles = [tagger.labels.titles[tagger.labels.index[tag["label_id"]]] for tag in row["tags"]]
        assert [tag["title"] for tag in row["tags"]] == titles


@pytest.mark.parametrize("k", [3, 7])
def test_k_is_what_the_bundle_keeps_by_default(tagger, k):
    run = replace(tagger.run, search=replace(tagger.run.search, k=k))
    with TestClient(make_api(replace(tagger, run=run), 4)) as client:
        for more in ({}, {"deny": [tagger.labels.ids[0]]}):
            results = ask(client, texts=TEXTS, **more).json()["results"]
            assert [len(row["tags"]) for row in results] == [k, k, k]


def test_health_names_bundle_and_licences(api, tagger):
    health = api.get("/healthz").json()
    assert health == {
        "status": "ok",
        "bundle": tagger.bundle_id,
        "labels": len(tagger.labels),
        "fields": ["text"],
        "licences": {"wordllama": "mit"},
    }


@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        ({}, "texts: Field required"),
        ({"texts": []}, "texts: List should have at least 1 item"),
        ({"texts": "one"}, "texts: Input should be a valid list"),
        ({"texts": ["fine", ""]}, "texts.1: the text is empty"),
        ({"texts": [" \n"]}, "texts.0: the text is empty"),
        ({"texts": [7]}, "texts.0: Input should be a valid string"),
        ({"texts": ["é" * 500_001]}, "texts.0: the text has 1000002 bytes; at most 1000000"),
        (
            {"texts": [{"title": "x", "text": " "}]},
            "text 0 has a field that the bundle does not read; got ['title']",
        ),
        ({"texts": ["a", {"text": " "}]}, "texts.1: the text is empty"),
        ({"texts": [{}]}, "texts.0: the text is empty"),
        ({"texts": [{"text": 7}]}, "texts.0: Input should be a valid string"),
        ({"texts": [None]}, "texts.0: Input should be a valid string"),
        ({"texts": ["a"] * 5}, "texts: 5 texts; at most 4 in one request (serve.max_texts)"),
        ({"texts": ["a"], "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"texts": ["a"], "k": 101}, "k: Input should be less than or equal to 100"),
        ({"texts": ["a"], "k": "5"}, "k: Input should be a valid integer"),
        ({"texts": ["a"], "k": True}, "k: Input should be a valid integer"),
        ({"texts": ["a"], "top": 3}, "top: Extra inputs are not permitted"),
        (["a"], ": Input should be a valid dictionary"),
    ],
)
def test_a_wrong_request_is_refused_with_its_place(api, body, flaw):
    assert flaw in flaw_of(api.post("/v1/tag", json=body))


def test_a_request_may_limit_the_labels(api, tagger):
    def answered(**limits):
        rows = ask(api, texts=TEXTS[:1], k=100, **limits).raise_for_status().json()["results"]
        return [tag["label_id"] for tag in rows[0]["tags"]]

    every = answered()
    assert len(every) == len(tagger.labels)
    assert answered(allow=every[3:6]) == every[3:6]
    assert answered(deny=every[:2]) == every[2:]
    assert answered(allow=every[:4], deny=[every[1]]) == [every[0], *every[2:4]]
    assert answered(below=every[0]) == [every[0]]
    assert answered(allow=[]) == []
    assert "no such labels; got ['nonsense']" in flaw_of(ask(api, texts=TEXTS, deny=["nonsense"]))


@pytest.mark.parametrize("body", [b"{", b"", b'{"texts": ["\xff"]}', b"[" * 100_000])
def test_what_is_no_json_is_refused(api, body):
    answer = api.post("/v1/tag", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("body", ['{"texts": ["\\ud800"]}', '{"texts": ["a"], "\\ud800": 1}', '{"texts": [NaN]}'])
def test_broken_unicode_is_refused_and_not_echoed(api, body):
    answer = api.post("/v1/tag", content=body, headers={"Content-Type": "application/json"})
    assert flaw_of(answer)
    assert "input" not in answer.text.split('"msg"')[0]


def test_many_flaws_are_not_all_told(api):
    assert len(ask(api, texts=[""] * 1000).json()["detail"]) == 20


def test_the_largest_text_is_tagged(api):
    assert ask(api, texts=["word " * 199_999]).status_code == 200


def test_one_thread_tags_while_health_answers(tagger):
    begun, released, active, most = threading.Event(), threading.Event(), [], []

    class Slow:
        manifest, labels, bundle_id = tagger.manifest, tagger.labels, tagger.bundle_id
        keep_k = tagger.keep_k

        def tag(self, texts, k):
            active.append(texts)
            begun.set()
            assert released.wait(30)
            most.append(len(active))
            active.pop()
            return tagger.tag(texts, k)

    with TestClient(make_api(Slow(), 4)) as client, ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(ask, client, texts=["a"]) for _ in range(3)]
        assert begun.wait(30)
        assert client.get("/healthz").status_code == 200
        released.set()
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
    assert most == [1, 1, 1]


def test_what_the_tagger_refuses_is_a_422(tagger):
    class Refusing:
        manifest, labels, bundle_id = tagger.manifest, tagger.labels, tagger.bundle_id
        keep_k = tagger.keep_k

        def tag(self, texts, k):
            raise CorpusError("the encoder gave a vector that is not finite")

    with TestClient(make_api(Refusing(), 4)) as client:
        assert "not finite" in flaw_of(ask(client, texts=["a"]))


@pytest.fixture(scope="module")
def closed(tagger, tmp_path_factory):
    file = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    file.write_text("first\n\n  second  \nümlaut\n", encoding="utf-8")
    with TestClient(make_api(tagger, 4, read_tokens(str(file), Store()))) as client:
        yield client


@pytest.mark.parametrize("token", ["first", "second"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_known_token_may_ask(closed, scheme, token):
    answer = closed.post("/v1/tag", json={"texts": ["a"]}, headers={"Authorization": f"{scheme} {token}"})
    assert answer.status_code == 200


def test_a_token_beyond_ascii_may_ask(closed):
    header = {"Authorization": "Bearer ümlaut".encode()}
    assert closed.post("/v1/tag", json={"texts": ["a"]}, headers=header).status_code == 200


@pytest.mark.parametrize(
    "header",
    [None, "Bearer", "Bearer ", "Bearer third", "Basic first", "first", "Bearer first second", "Bearer firs"],
)
@pytest.mark.parametrize("path", ["/v1/tag", "/openapi.json", "/", "/healthz/"])
def test_without_a_known_token_nothing_but_health_answers(closed, path, header):
    headers = {"Authorization": header} if header else {}
    answer = closed.post(path, content=b"{not even json", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_two_authorization_headers_are_refused_and_health_stays_open(closed):
    headers = [("Authorization", "Bearer first"), ("Authorization", "Bearer third")]
    assert closed.post("/v1/tag", json={"texts": ["a"]}, headers=headers).status_code == 401
    assert closed.get("/healthz").status_code == 200


def test_a_tokens_file_without_a_token_is_an_error(tmp_path):
    (tmp_path / "tokens.txt").write_text("\n \n")
    with pytest.raises(SettingsError, match="no token"):
        read_tokens(str(tmp_path / "tokens.txt"), Store())


def test_the_schema_describes_the_api(api):
    schema = api.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/v1/tag", "/healthz"}
    asked = schema["components"]["schemas"]["TagRequest"]["properties"]["k"]
    assert [kind["type"] for kind in asked["anyOf"]] == ["integer", "null"]
    assert asked["anyOf"][0]["maximum"] == 100


def client_of(answer, **more: int):
    client = Client("http://127.0.0.1:1", **more)
    client._http = httpx.Client(transport=httpx.MockTransport(answer))
    return client


def test_the_client_splits_long_lists_and_keeps_their_order():
    sizes = []

    def answer(request):
        texts = json.loads(request.content)["texts"]
        sizes.append(len(texts))
        return httpx.Response(200, json={"results": [{"tags": [{"label_id": t, "score": 1.0}]} for t in texts]})

    texts = [str(number) for number in range(10)]
    assert client_of(answer, texts_a_request=4).tag(iter(texts), k=1) == [[(text, 1.0)] for text in texts]
    assert sizes == [4, 4, 2]
    assert client_of(answer).tag([]) == []


def test_the_client_leaves_k_to_the_bundle():
    bodies = []

    def answer(request):
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"results": [{"tags": []}]})

    client_of(answer).tag(["a"])
    client_of(answer).tag(["a"], k=3)
    assert bodies == [{"texts": ["a"]}, {"texts": ["a"], "k": 3}]


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (401, {}, SettingsError, "token="),
        (422, {"detail": [{"loc": ["body", "texts", 1], "msg": "empty"}]}, CorpusError, "texts.5: empty"),
        (422, {"other": 1}, CorpusError, "other"),
        (503, {}, CapacityError, "replicas_max"),
        (408, {}, CapacityError, "too much to do"),
        (500, {}, RaytaggerError, "log"),
        (404, {}, RaytaggerError, "404"),
    ],
)
def test_the_client_explains_what_went_wrong(status, body, kind, message):
    def answer(request):
        texts = json.loads(request.content)["texts"]
        if "bad" in texts:
            return httpx.Response(status, json=body)
        return httpx.Response(200, json={"results": [{"tags": []}] * len(texts)})

    with client_of(answer, texts_a_request=4) as client, pytest.raises(kind, match=message) as caught:
        client.tag([*"abcd", "a", "bad"])
    assert type(caught.value) is kind


def test_the_client_explains_what_it_cannot_reach():
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(RaytaggerError, match="Is `raytagger serve` running"),
    ):
        client.health()

    def late(request):
        raise httpx.ReadTimeout("late", request=request)

    with pytest.raises(RaytaggerError, match="timeout_s"):
        client_of(late).tag(["a"])
    with pytest.raises(SettingsError, match="http"):
        Client("127.0.0.1:8000")
    with pytest.raises(CorpusError, match="brackets"):
        client_of(late).tag("one text")
