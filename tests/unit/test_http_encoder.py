"""The HTTP encoder against a real server that speaks the OpenAI embeddings protocol over the real MiniLM."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from raytagger.encoders import http, load_encoder, open_encoder, save_encoder
from raytagger.errors import CapacityError, CorpusError, SettingsError
from raytagger.settings import EncoderSettings

TEXTS = [f"text number {number}" for number in range(70)]  # two requests


class Endpoint:
    """What the server does next, and what it was asked."""

    def __init__(self, encoder) -> None:
        self.encoder, self.asked, self.headers = encoder, [], []
        self.statuses = []  # to answer before it works
        self.answer = self.embed

    def embed(self, texts):
        rows = self.encoder.encode(texts).vector_BD.astype(float).tolist()
        data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
        return 200, {"object": "list", "data": data[::-1], "model": "minilm"}  # the order is in the index alone


@pytest.fixture
def endpoint(minilm):
    served = Endpoint(minilm)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append(body)
            served.headers.append(dict(self.headers))
            if self.path != "/v1/embeddings":
                status, answer = 404, {"error": "not found"}
            elif served.statuses:
                status, answer = served.statuses.pop(0), {"error": "later"}
            else:
                status, answer = served.answer(body["input"])
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield served
        server.shutdown()


@pytest.fixture
def encoder(endpoint, store, monkeypatch):
    monkeypatch.setattr(http, "PAUSE_S", 0.001)
    monkeypatch.setenv("EMBEDDINGS_KEY", "secret-token")
    return load_encoder(settings_of(endpoint), store)


def settings_of(endpoint):
    return EncoderSettings(kind="http", path=endpoint.url + "/", model="minilm", key_variable="EMBEDDINGS_KEY")


def test_embeddings_are_those_of_the_model_behind(encoder, endpoint, minilm):
    assert encoder.width == 384
    endpoint.asked.clear()
    found = encoder.encode(TEXTS, prompt="query: ")
    np.testing.assert_allclose(found.vector_BD, minilm.encode(TEXTS, "query: ").vector_BD, atol=1e-3)
    assert not found.cut_B.any()
    assert [len(body["input"]) for body in endpoint.asked] == [64, 6]
    assert {body["model"] for body in endpoint.asked} == {"minilm"}
    assert encoder.encode([]).vector_BD.shape == (0, 384)


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
    assert encoder.encode(["a"]).vector_BD.shape == (1, 384)
    assert len(endpoint.asked) == len(statuses) + 1


def test_one_that_stays_busy_is_an_error(encoder, endpoint):
    endpoint.statuses = [429] * 5
    with pytest.raises(CapacityError, match=f"stayed busy over 5 tries.*429 {endpoint.url}"):
        encoder.encode(["a"])
    assert endpoint.statuses == []


@pytest.mark.parametrize(
    "answer",
    [
        (401, {"error": "who are you"}),
        (200, b"<html>welcome</html>"),
        (200, []),
        (200, None),
        (200, {"data": None}),
        (200, {"data": [{"embedding": [1.0, 2.0]}]}),
        (200, {"data": [{"index": 0, "embedding": "AAAA"}]}),
        (200, {"data": [{"index": 0, "embedding": []}]}),
        (200, {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]}),
        (301, {}),
    ],
    ids=str,
)
def test_another_form_of_answer_is_refused(encoder, endpoint, answer):
    endpoint.answer = lambda texts: answer
    with pytest.raises(SettingsError, match="unexpected form") as caught:
        encoder.encode(["a", "b"])
    assert "EMBEDDINGS_KEY" in str(caught.value)
    assert "secret-token" not in str(caught.value)


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
