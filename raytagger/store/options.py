"""Storage options from one place, in the form that each library wants them."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import pyarrow.fs as arrow_fs

from raytagger.errors import StoreError
from raytagger.settings import StorageSettings

TIMEOUT_S = 30
CONNECT_TIMEOUT_S = 10


def resolve(settings: StorageSettings) -> StorageSettings:
    """Settings with what they leave open taken from the environment.

    Raises:
        StoreError: the endpoint is not an http(s) address.
    """
    environment = os.environ.get
    endpoint = settings.endpoint or environment("AWS_ENDPOINT_URL_S3") or environment("AWS_ENDPOINT_URL") or ""
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise StoreError("storage.endpoint is no address", got=endpoint, expected="http(s)://host:port")
    return StorageSettings(
        endpoint=endpoint,
        region=settings.region or environment("AWS_REGION") or environment("AWS_DEFAULT_REGION") or "us-east-1",
    )


@lru_cache(maxsize=8)
def s3_filesystem(settings: StorageSettings) -> arrow_fs.S3FileSystem:
    """The view of pyarrow, Ray Data and Ray Train; credentials by the usual AWS chain."""
    options: dict[str, Any] = {
        "region": settings.region,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "request_timeout": TIMEOUT_S,
    }
    if settings.endpoint:
        address = urlsplit(settings.endpoint)
        options |= {"endpoint_override": address.netloc, "scheme": address.scheme}
    return arrow_fs.S3FileSystem(**options)


@lru_cache(maxsize=8)
def s3_client(settings: StorageSettings) -> Any:
    """The client of boto3, for what pyarrow cannot do: conditional writes."""
    import boto3  # here and below: whoever works on a local disk does not pay for it
    from botocore.config import Config

    # A session of its own: boto3's default one is not safe when threads make their first client at once.
    return boto3.Session().client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint or None,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            retries={"mode": "standard", "max_attempts": 4},
        ),
    )


def delta_options(settings: StorageSettings) -> dict[str, str]:
    """The options of deltalake. Asked for anew at every use, so that temporary credentials stay fresh.

    Raises:
        StoreError: no credentials are found.
    """
    import boto3

    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise StoreError(
            "no credentials for object storage",
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or an instance role.",
        )
    frozen = credentials.get_frozen_credentials()
    options = {
        "AWS_ACCESS_KEY_ID": frozen.access_key or "",
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key or "",
        "AWS_REGION": settings.region,
    }
    if frozen.token:
        options["AWS_SESSION_TOKEN"] = frozen.token
    if settings.endpoint:
        options["AWS_ENDPOINT_URL"] = settings.endpoint
        options["AWS_ALLOW_HTTP"] = str(settings.endpoint.startswith("http://")).lower()
    return options
