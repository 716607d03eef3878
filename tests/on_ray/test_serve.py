"""The endpoint on a real Ray Serve, and `raytagger serve` as a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from ray import serve

from raytagger.bundle import load, named
from raytagger.client import Client
from raytagger.corpus.output import SMALL
from raytagger.errors import BundleError, CapacityError, CorpusError, RaytaggerError, SettingsError
from raytagger.serve.app import _check_capacity, build_app, serve_forever
from raytagger.settings import ClusterSettings, ServeRun, ServeSettings
from tests.equal import assert_same_ranking

TEXTS = [json.loads(line)["text"] for line in (SMALL / "docs.jsonl").read_text().splitlines()]
START_S = 600
STOP_S = 600


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def tagger(bundle):
    return load(bundle)


@pytest.fixture(scope="module")
def address(ray_head, bundle, tmp_path_factory):
    """A Serve with the application open at /open and behind tokens at /closed."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    tokens.write_text("secret\n")
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port, "request_timeout_s": 600.0})
    runs = {
        "open": ServeSettings(bundle),
        "closed": ServeSettings(bundle, replicas_max=2, tokens_file=str(tokens)),
    }
    serve.run_many(
        [
            serve.RunTarget(build_app(ServeRun(settings)), name=name, route_prefix=f"/{name}")
            for name, settings in runs.items()
        ]
    )
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def test_it_answers_as_the_bundle_does(address, tagger):
    with Client(f"{address}/open") as client:
        answers = client.tag(TEXTS, k=7)
    expected = named(tagger.tag(TEXTS, 7), tagger.labels)
    for answer, tags in zip(answers, expected, strict=True):
        assert_same_ranking(answer, tags)


def test_health_and_refusals_pass_through_serve(address, tagger):
    with Client(f"{address}/open") as client:
        assert client.health()["bundle"] == tagger.bundle_id
        assert client.health()["licences"] == {"wordllama": "mit"}
        with pytest.raises(CorpusError, match=r"texts\.66: the text is empty"):
            client.tag([*["a"] * 66, ""])
        with pytest.raises(CorpusError, match="at most 256 in one request"):
            Client(f"{address}/open", texts_a_request=1000).tag(["a"] * 257)


def test_a_token_is_asked_for_where_one_is_set(address):
    with Client(f"{address}/closed", token="secret") as client:
        assert len(client.tag(["a text"], k=3)[0]) == 3
    for token in (None, "wrong"):
        with Client(f"{address}/closed", token=token) as client:
            assert client.health()["status"] == "ok"
            with pytest.raises(SettingsError, match="bearer token"):
                client.tag(["a text"])


def test_concurrent_requests_are_all_answered(address, tagger):
    def ask(number):
        texts = TEXTS[number : number + 3]
        return httpx.post(f"{address}/open/v1/tag", json={"texts": texts, "k": 2}, timeout=600)

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(64)))
    assert {answer.status_code for answer in answers} == {200}
    expected = named(tagger.tag(TEXTS[:66], 2), tagger.labels)
    for number, answer in enumerate(answers):
        results = answer.json()["results"]
        for row, tags in zip(results, expected[number : number + 3], strict=True):
            assert_same_ranking([(tag["label_id"], tag["score"]) for tag in row["tags"]], tags)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"bundle": ""}, SettingsError, r"serve\.bundle is empty"),
        ({"bundle": "nowhere"}, BundleError, "no bundle there"),
        ({"port": 0}, SettingsError, r"serve\.port"),
        ({"replicas_min": 2}, SettingsError, "replicas_min <= replicas_max"),
        ({"max_texts": 0}, SettingsError, r"serve\.max_texts"),
        ({"tokens_file": "nowhere.txt"}, RaytaggerError, r"nowhere\.txt"),
    ],
)
def test_what_cannot_be_served_is_told_before_ray_starts(bundle, monkeypatch, settings, kind, message):
    monkeypatch.setattr("raytagger.serve.app.connected", None)
    with pytest.raises(kind, match=message):
        serve_forever(ServeRun(ServeSettings(**{"bundle": bundle, **settings})), print)


def test_a_busy_port_is_told_before_ray_starts(bundle, monkeypatch):
    monkeypatch.setattr("raytagger.serve.app.connected", None)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} of 127.0.0.1 is taken"):
            serve_forever(ServeRun(ServeSettings(bundle, port=port)), print)


@pytest.mark.usefixtures("ray_head")
def test_replicas_that_would_wait_for_ever_are_refused(bundle):
    with pytest.raises(CapacityError, match="one CPU a replica"):
        _check_capacity(ServeRun(ServeSettings(bundle, replicas_min=5, replicas_max=5)))
    with pytest.raises(CapacityError, match="one GPU a replica"):
        _check_capacity(ServeRun(ServeSettings(bundle), ClusterSettings(use_gpu=True)))


def test_the_command_answers_and_stops_on_sigterm(bundle, tmp_path):
    port = free_port()
    run_file = tmp_path / "serve.toml"
    run_file.write_text(f'[serve]\nbundle = "{bundle}"\nport = {port}\n')
    command = [str(Path(sys.executable).with_name("raytagger")), "serve", str(run_file)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        watchdog = threading.Timer(START_S, process.kill)
        watchdog.start()
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        watchdog.cancel()
        assert process.poll() is None, "".join(lines)
        with Client(f"http://127.0.0.1:{port}") as client:
            assert len(client.tag(TEXTS[:3], k=4)) == 3
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=STOP_S)[1]
    told = "".join(lines)
    assert process.returncode == 0, told + rest
    assert "stopped" in rest
    assert "model wordllama: licence mit" in told
    assert f"http://127.0.0.1:{port}" in told
    assert "curl -s" in told
    assert "Traceback" not in told + rest
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")
