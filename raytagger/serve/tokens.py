"""Bearer tokens: who may ask the endpoint."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from raytagger.errors import SettingsError
from raytagger.store import Store

OPEN_PATHS = ("/healthz",)  # load balancers ask it, and it tells nothing about documents


def read_tokens(uri: str, store: Store) -> tuple[bytes, ...]:
    """SHA-256 digests of the tokens in a file, one token a line.

    Digests go to the replicas, so that no token lies in the cluster's state or logs.

    Raises:
        SettingsError: the file has no token; an endpoint that nobody can use is a mistake.
        StoreError: the file cannot be read.
    """
    tokens = [line.strip() for line in store.read_bytes(uri).splitlines()]
    digests = tuple(_digest(token) for token in tokens if token)
    if not digests:
        raise SettingsError(
            "serve.tokens_file has no token", got=uri, expected="one token a line", remedy="openssl rand -hex 32"
        )
    return digests


class TokenGate:
    """Answers 401 before the body is read, unless the request carries a known token."""

    def __init__(self, app: ASGIApp, digests: Sequence[bytes]) -> None:
        self._app, self._digests = app, tuple(digests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan" or _path(scope) in OPEN_PATHS or self._knows(scope):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"detail": "a bearer token is needed: Authorization: Bearer TOKEN"},
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refusal(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        digest = _digest(token.strip())
        # Every digest is compared, each in constant time: the answer's delay tells nothing.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def _path(scope: Scope) -> str:
    return scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
