"""The address of a running Ray: what it may look like, and whether a Ray answers there."""

from __future__ import annotations

import os
import re
import socket
from contextlib import closing
from typing import Any

import grpc
from ray._private import services
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import ray_client_pb2

from raytagger.errors import CapacityError, RaytaggerError, SettingsError

ANSWERS_WITHIN_S = 10.0
EXPECTED = "host:port, ray://host:port, auto or local"
messages: Any = ray_client_pb2  # makes its classes at import, where no type checker sees them
# What a head answers at once: a method and its request. `ray://` is answered by a server of its own.
HEAD = ("/ray.rpc.NodeInfoGcsService/GetClusterId", b"")
PING = messages.ClusterInfoRequest(type=messages.ClusterInfoType.PING)
CLIENTS = ("/ray.rpc.RayletDriver/ClusterInfo", PING.SerializeToString())
HOST_AND_PORT = re.compile(r"(?:ray://)?(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})")


def check_address(address: str) -> None:
    """Checks that a Ray answers at an address; Ray itself would try for minutes.

    Args:
        address: `host:port`, `ray://host:port`, `auto`, or `local`, which is always there.

    Raises:
        SettingsError: it is no address of a Ray, or that Ray asks for a token.
        CapacityError: nobody answers there.
    """
    if address == "local":
        return
    host, port = _host_and_port(_running() if address == "auto" else address)
    try:
        with socket.create_connection((host.strip("[]"), port), ANSWERS_WITHIN_S):
            pass
    except OSError as error:
        raise _no_answer(address, str(error)) from error
    with closing(init_grpc_channel(f"{host}:{port}", [("grpc.enable_http_proxy", 0)])) as channel:
        method, request = CLIENTS if address.startswith("ray://") else HEAD
        try:
            channel.unary_unary(method)(request, timeout=ANSWERS_WITHIN_S / 2)
        except grpc.RpcError as error:
            raise _refused(address, error) from error


def _refused(address: str, error: Any) -> RaytaggerError:
    """What a refused call tells: a Ray refuses only who brings no token."""
    if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
        return _no_answer(address, "it takes the call and does not answer as a Ray does")
    return SettingsError(
        f"the Ray at {address} asks for a token",
        got=f"RAY_AUTH_MODE={os.environ.get('RAY_AUTH_MODE', '')}: {error.details()}"[:150],
        remedy="Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH (else ~/.ray/auth_token).",
    )


def _no_answer(address: str, reason: str) -> CapacityError:
    return CapacityError(
        f"no Ray answers at {address}: {reason}",
        remedy="Check cluster.address or RAY_ADDRESS and that the head is up; without one a Ray is started.",
    )


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
