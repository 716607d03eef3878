"""A Ray head as a cluster has one: it outlives its drivers, and its dashboard takes jobs."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.processes import RAY_ENVIRONMENT, descendants, wait_until

CPUS = 4  # logical
RAY = str(Path(sys.executable).with_name("ray"))


class Head(NamedTuple):
    """Where drivers connect to, and where jobs are submitted."""

    address: str
    jobs: str


def environment() -> dict[str, str]:
    """Of the head and all its workers. A job's `python` is the one on the head's path: this environment's."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **RAY_ENVIRONMENT, "PATH": path}


@contextlib.contextmanager
def running_head(cpus: int = CPUS) -> Iterator[Head]:
    """Starts a head, and ends it with all below it; `ray stop` would end everybody's."""
    port, dashboard, agent, client, metrics = free_ports(5)
    folder = tempfile.mkdtemp(prefix="rt", dir="/tmp")  # short: Ray's socket paths have a limit
    command = [
        *(RAY, "start", "--head", "--block", f"--num-cpus={cpus}"),
        *(f"--port={port}", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"),
        *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
        *(f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}"),
        *(f"--temp-dir={folder}", "--disable-usage-stats", "--object-store-memory=200000000"),
    ]
    head = Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}")
    log = Path(folder) / "head.log"
    process = _start(command, log, lambda: _is_started(log) and _answers(head.jobs))
    try:
        yield head
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def joined_node(head: Head, cpus: int) -> Iterator[None]:
    """A further node, as the autoscaler of a cluster starts one; there while the block runs."""
    agent, metrics = free_ports(2)
    command = [
        *(RAY, "start", f"--address={head.address}", "--block", f"--num-cpus={cpus}"),
        *("--node-ip-address=127.0.0.1", f"--dashboard-agent-listen-port={agent}"),
        *(f"--metrics-export-port={metrics}", "--disable-usage-stats", "--object-store-memory=200000000"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "node.log"
        process = _start(command, log, lambda: _is_started(log))
        try:
            yield
        finally:
            _end(process)


def _start(command: list[str], log: Path, is_up: Callable[[], bool]) -> subprocess.Popen[bytes]:
    """A node, started again where a busy machine needs longer than the 30 s that Ray gives itself."""
    for _ in range(12):
        with log.open("w") as file:
            process = subprocess.Popen(command, env=environment(), stdout=file, stderr=file, start_new_session=True)
        wait_until(lambda process=process: is_up() or process.poll() is not None)
        if process.poll() is None:
            return process
    raise AssertionError(f"Ray does not start: {log.read_text()}")


def _is_started(log: Path) -> bool:
    """Whether the whole node is up; of a head the dashboard answers before, and the rest may still fail."""
    return "until terminated" in log.read_text()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a node with all below it."""
    below = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    for pid in (process.pid, *below):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody has."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{address}/api/version").status_code == 200
    return False
