"""A training and a night as Ray jobs, submitted to a head of their own, over object storage."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from raytagger.bundle import load
from raytagger.corpus.output import SMALL
from raytagger.store import Store, join
from raytagger.store.tags import TagTable
from tests.conftest import RAY_ENVIRONMENT, ROOT
from tests.corpora import small_bundle, write_texts
from tests.processes import descendants, wait_until
from tests.tiny import tiny_encoder

pytestmark = [pytest.mark.ray, pytest.mark.s3]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def environment():
    # A job's `python` is the one on the head's path: this environment's.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, **RAY_ENVIRONMENT, "RAY_AUTH_MODE": "disabled", "PATH": path}


@pytest.fixture(scope="module")
def head(s3):
    """A Ray head of two CPUs with a dashboard, ended with all below it; `ray stop` would end everybody's."""
    del s3  # its address must be in the head's environment
    port, dashboard, agent, client, metrics = free_ports(5)
    folder = tempfile.mkdtemp(prefix="rt", dir="/tmp")  # short: Ray's socket paths have a limit
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"),
        *(f"--port={port}", "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1"),
        *(f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"),
        *(f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}"),
        *(f"--temp-dir={folder}", "--disable-usage-stats", "--object-store-memory=200000000"),
    ]
    log = open(Path(folder) / "head.log", "w")  # noqa: SIM115 - lives as long as the process
    process = subprocess.Popen(command, env=environment(), stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{dashboard}"
    try:
        wait_until(lambda: answers(address), process=process)
        yield address
    finally:
        below = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        for pid in (process.pid, *below):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def answers(address):
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{address}/api/version").status_code == 200
    return False


def submit(address, *arguments):
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "job", "submit", "--address", address, "--working-dir", ".", "--", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=1200, check=False
    )


def test_a_night_is_submitted_as_a_job(head, bucket, tmp_path):
    store = Store()
    texts = [f"a text about sewing and quilts, number {row}" for row in range(60)]
    store.write_bytes(join(bucket, "docs.parquet"), write_texts(tmp_path / "docs.parquet", texts).read_bytes())
    bundle, table = small_bundle(join(bucket, "bundle")), join(bucket, "tags")
    sets = [f"retag.documents={bucket}/docs.parquet", f"retag.bundle={bundle}", f"retag.table={table}"]
    sets += ["retag.splits=[]", "cluster.workers=2"]
    options = [word for value in sets for word in ("--set", value)]
    done = submit(head, "python", "jobs/retag.py", "jobs/retag.toml", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"60 of 60 documents tagged", done.stdout), done.stdout
    delta = TagTable(store, table).open()
    assert delta is not None
    assert sum(len(part) for part in TagTable(store, table).read(delta)) == 60
    failed = submit(head, "python", "jobs/retag.py", "jobs/retag.toml", "--set", "retag.bundle=s3://nowhere/x")
    assert failed.returncode != 0
    assert "error:" in failed.stdout


def test_a_training_is_submitted_as_a_job(head, bucket, tmp_path):
    encoder, out = tiny_encoder(tmp_path), join(bucket, "ofde")
    sets = {
        "source.documents": SMALL / "docs.jsonl",
        "source.labels": SMALL / "labels.jsonl",
        "encoder.path": encoder.path,
        "encoder.max_tokens": 16,
        "train.max_steps": 4,
        "train.batch_size": 16,
        "train.frozen_layers": 1,
        "train.evaluations": 1,
        "cluster.workers": 1,
        "output.bundle": out,
    }
    options = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    done = submit(head, "python", "jobs/train_ofde.py", "jobs/ofde.toml", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"training: 4 steps of about .* on 1 worker", done.stdout), done.stdout
    assert "step 4 of 4: nDCG@5" in done.stdout
    tagger = load(out)
    assert tagger.manifest["kind"] == "dense"
    assert (tagger.tag(["sewing a quilt by hand"], 5).label_BK >= 0).all()
