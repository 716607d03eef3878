"""The address of a running Ray: what it may look like, and whether a Ray answers there."""

from __future__ import annotations

import os
import re
import socket

import grpc
from ray._private import services

from raytagger.errors import CapacityError, SettingsError

ANSWERS_WITHIN_S = 10.0
EXPECTED = "host:port, ray://host:port, auto or local"
HOST_AND_PORT = re.compile(r"(?:ray://)?(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})")


def check_address(address: str) -> None:
    """Checks that a Ray answers at an address; Ray itself would try for minutes.

    Args:
        address: `host:port`, `ray://host:port`, `auto`, or `local`, which is always there.

    Raises:
        SettingsError: it is no address of a Ray.
        CapacityError: nobody answers there.
    """
    if address == "local":
        return
    host, port = _host_and_port(_running() if address == "auto" else address)
    try:
        with socket.create_connection((host.strip("[]"), port), ANSWERS_WITHIN_S):
            pass
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return  # a plain channel would not be answered
        # Ray speaks gRPC; a channel is ready when the other side has said so, not when it has taken the call.
        with grpc.insecure_channel(f"{host}:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
            grpc.channel_ready_future(channel).result(ANSWERS_WITHIN_S / 2)
    except (OSError, grpc.FutureTimeoutError) as error:
        reason = "it takes the call and does not answer" if not isinstance(error, OSError) else error
        raise CapacityError(
            f"no Ray answers at {address}: {reason}",
            remedy="Check cluster.address or RAY_ADDRESS and that the head is up; without one a Ray is started.",
        ) from error


def _host_and_port(address: str) -> tuple[str, int]:
    found = HOST_AND_PORT.fullmatch(address)
    if found is None or not 0 < int(found[2]) < 65536:
        jobs = address.startswith(("http://", "https://"))
        raise SettingsError(
            "cluster.address or RAY_ADDRESS is no address of a Ray",
            got=address,
            expected=EXPECTED,
            remedy="An http address takes jobs: `ray job submit -- raytagger …`." if jobs else "",
        )
    return found[1], int(found[2])


def _running() -> str:
    """The address of the Ray on this machine."""
    try:
        found = services.canonicalize_bootstrap_address("auto")
    except (ConnectionError, ValueError) as error:
        found, reason = None, error
    else:
        reason = None
    if not found:
        raise SettingsError(
            "no Ray runs on this machine",
            got="auto",
            expected=EXPECTED,
            remedy="Start one with `ray start --head`, or leave the address empty.",
        ) from reason
    return found
