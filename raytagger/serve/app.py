"""A bundle as a Ray Serve application: replicas that hold a tagger behind the HTTP API.

    client ── proxy (host:port) ── replica: FastAPI ── one thread ── tagger.tag

Replicas come and go with the load between `serve.replicas_min` and `serve.replicas_max`.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import ray
from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.config import HTTPOptions
from ray.serve.exceptions import RayServeException

from raytagger.bundle import load, open_bundle, peek_manifest, pin_bundle
from raytagger.errors import BundleError, CapacityError, RaytaggerError, SettingsError
from raytagger.serve.api import make_api
from raytagger.serve.tokens import read_tokens
from raytagger.settings import ServeRun
from raytagger.store import Store, is_s3, placed
from raytagger.stream.cluster import connected

NAME = "raytagger"
REQUEST_TIMEOUT_S = 60.0
# A replica tags one request at a time. Enough wait in it to keep it busy, the rest wait at the proxy, and what is
# beyond that is answered with 503 at once.
ONGOING_REQUESTS = 16
QUEUED_REQUESTS = 256
TARGET_REQUESTS = 4
PROBE_TIMEOUT_S = 10.0
OWN_ERROR = re.compile(r"^raytagger\.errors\.\w+: ")
ANY_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def build_app(run: ServeRun) -> Application:
    """The application of a run, its bundle pinned to the version that is the latest now.

    Raises:
        SettingsError: a setting is out of its range, or the tokens file is empty.
        BundleError: there is no bundle.
        StoreError: the tokens file cannot be read.
    """
    _check_settings(run)
    run = placed(run)
    settings, storage, store = run.serve, run.storage, Store(run.storage)
    bundle = pin_bundle(settings.bundle, store)
    digests = read_tokens(settings.tokens_file, store) if settings.tokens_file else ()

    def build_api() -> FastAPI:
        return make_api(load(bundle, Store(storage)), settings.max_texts, digests)

    # One CPU a replica; Ray sets OMP_NUM_THREADS to it, so that torch in several replicas does not crowd the node.
    resources = {"num_cpus": 1, "num_gpus": 1 if run.cluster.use_gpu else 0}
    deployment: Any = serve.deployment(
        serve.ingress(build_api)(),
        name="tagger",
        ray_actor_options=resources,
        max_ongoing_requests=ONGOING_REQUESTS,
        max_queued_requests=QUEUED_REQUESTS,
        **_scaling(run),
    )
    return deployment.bind()


def serve_forever(run: ServeRun, say: Callable[[str], None]) -> None:
    """Serves until Ctrl-C or SIGTERM, then shuts Serve down. Call it from the main thread.

    Args:
        run: what to serve, and where.
        say: gets a line for a person at a time.

    Raises:
        SettingsError: a setting is out of its range, or the port is taken.
        BundleError: there is no bundle, or the replicas cannot load it.
        CapacityError: the cluster cannot carry the least number of replicas.
        RaytaggerError: nothing answers at the port.
    """
    _check_settings(run)
    manifest = _check_bundle(run)
    app = build_app(run)
    _check_port(run.serve.host, run.serve.port)
    own_ray = _starts_ray(run)
    try:
        with _interrupted_by_sigterm(), connected(run.cluster):
            _take_sigterm()  # Ray has put its own handler there, which would leave Serve behind
            _check_capacity(run)
            try:
                _start(run, app)
                health = _probe(run)
                _introduce(run, manifest, health, say)
                threading.Event().wait()
            finally:
                _stop(own_ray)
    except KeyboardInterrupt:
        say("stopped")


def _scaling(run: ServeRun) -> dict[str, Any]:
    least, most = run.serve.replicas_min, run.serve.replicas_max
    if least == most:
        return {"num_replicas": least}
    limits = {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": TARGET_REQUESTS}
    return {"autoscaling_config": limits}


def _check_settings(run: ServeRun) -> None:
    settings = run.serve
    if not settings.bundle:
        raise SettingsError("serve.bundle is empty", expected="a bundle, local or s3://")
    if not 1 <= settings.port <= 65535:
        raise SettingsError("serve.port", got=settings.port, expected="1 to 65535")
    if not 1 <= settings.replicas_min <= settings.replicas_max:
        raise SettingsError(
            "serve.replicas_min and serve.replicas_max",
            got=(settings.replicas_min, settings.replicas_max),
            expected="1 <= replicas_min <= replicas_max",
        )
    if settings.max_texts < 1:
        raise SettingsError("serve.max_texts", got=settings.max_texts, expected="1 at least")


def _check_bundle(run: ServeRun) -> dict[str, Any]:
    """The manifest. A local bundle is checked file by file; a remote one would be fetched to a node for nothing."""
    store = Store(run.storage)
    place = pin_bundle(run.serve.bundle, store)
    if not is_s3(place):
        return open_bundle(place, store).manifest
    return peek_manifest(place, store)


def _starts_ray(run: ServeRun) -> bool:
    return not (ray.is_initialized() or run.cluster.address or os.environ.get("RAY_ADDRESS"))


def _check_port(host: str, port: int) -> None:
    # Serve would share a taken port with its owner (SO_REUSEPORT), and requests would reach either.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                remedy = (
                    "Take another with --port, or stop what listens there (a Serve left behind: `serve shutdown`)."
                )
                raise SettingsError(f"port {port} of {host} is taken", remedy=remedy) from error
            raise SettingsError(f"{host}:{port} cannot be listened at: {error.strerror}") from error


def _check_capacity(run: ServeRun) -> None:
    """Replicas that Ray on one machine cannot carry would be waited for without an end; a cluster may grow."""
    if run.cluster.address or os.environ.get("RAY_ADDRESS"):
        return
    total = ray.cluster_resources()
    for resource in ("CPU", "GPU") if run.cluster.use_gpu else ("CPU",):
        if run.serve.replicas_min > total.get(resource, 0):
            raise CapacityError(
                f"serve.replicas_min needs one {resource} a replica",
                got=run.serve.replicas_min,
                expected=f"{int(total.get(resource, 0))} at most",
                remedy="Lower it" + (", or set cluster.use_gpu = false." if resource == "GPU" else "."),
            )


def _start(run: ServeRun, app: Application) -> None:
    options = HTTPOptions(host=run.serve.host, port=run.serve.port, request_timeout_s=REQUEST_TIMEOUT_S)
    serve.start(http_options=options)
    try:
        serve.run(app, name=NAME)
    except RuntimeError as error:
        raise BundleError(f"the replicas cannot start: {_cause(error)}", got=run.serve.bundle) from error


def _cause(error: Exception) -> str:
    """The last line of the replica's traceback, which Serve keeps in the deployment's status only."""
    found = serve.status().applications.get(NAME)
    messages = [part.message for part in found.deployments.values()] if found else []
    lines = [line.strip() for message in (str(error), *messages) for line in message.splitlines() if line.strip()]
    return OWN_ERROR.sub("", lines[-1]).rstrip(".") if lines else type(error).__name__


def _stop(own_ray: bool) -> None:
    """Ends the application after the requests under way, and Serve with it."""
    if not own_ray:
        serve.shutdown()
        return
    # Serve ends with its Ray; to shut it down before would make Ray print a false alarm.
    with suppress(RayServeException):  # it has not come up
        serve.delete(NAME)


def _probe(run: ServeRun) -> dict[str, Any]:
    """Asks the endpoint itself: a Serve that already ran on the cluster keeps its own port."""
    try:
        answer = httpx.get(f"{_address(run)}/healthz", timeout=PROBE_TIMEOUT_S, trust_env=False)
        return answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise RaytaggerError(
            f"nothing answers at {_address(run)}: {error}",
            remedy="If Serve already runs on this cluster, stop it with `serve shutdown`.",
        ) from error


def _address(run: ServeRun) -> str:
    host = ANY_HOSTS.get(run.serve.host, run.serve.host)
    return f"http://{host}:{run.serve.port}"


def _introduce(run: ServeRun, manifest: dict[str, Any], health: dict[str, Any], say: Callable[[str], None]) -> None:
    address, closed = _address(run), bool(run.serve.tokens_file)
    token = " -H 'Authorization: Bearer TOKEN'" if closed else ""
    say(f"bundle {health['bundle']}, {health['labels']:,} labels: {address}")
    for model, licence in manifest.get("licences", {}).items():
        say(f"model {model}: licence {licence}")
    if run.serve.host in ANY_HOSTS and not closed:
        say("Anyone who reaches this machine may ask it; serve.tokens_file closes it.")
    say(
        f"  curl -s {address}/v1/tag -H 'Content-Type: application/json'{token}"
        """ -d '{"texts": ["some text"], "k": 5}'"""
    )
    say("Ctrl-C stops it.")


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does."""
    before = signal.getsignal(signal.SIGTERM)
    _take_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _take_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
