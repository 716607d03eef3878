"""The HTTP API over a loaded tagger; it knows nothing of Ray."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse

from raytagger import __version__
from raytagger.bundle import Tagger, named
from raytagger.bundle.texts import read_texts, text_fields
from raytagger.bundle.xml0 import Xml0Tagger
from raytagger.corpus import LabelSet
from raytagger.errors import CorpusError
from raytagger.schema import BoolArray
from raytagger.serve.models import Health, Refusal, TagAnswer, TagRequest
from raytagger.serve.tokens import TokenGate

SHOWN_FLAWS = 20


def make_api(tagger: Tagger, max_texts: int, token_digests: Sequence[bytes] = ()) -> FastAPI:
    """The endpoint's routes.

    Args:
        tagger: answers all requests.
        max_texts: texts in one request.
        token_digests: of the tokens that may ask; empty: anybody may.
    """
    routes = _Routes(tagger, max_texts)
    # The interactive pages would load their scripts from a foreign host.
    api = FastAPI(title="raytagger", version=__version__, docs_url=None, redoc_url=None)
    refusals: dict[int | str, dict[str, Any]] = {422: {"model": Refusal}}
    if token_digests:
        refusals[401] = {"description": "No bearer token, or an unknown one"}
        api.add_middleware(TokenGate, digests=token_digests)
    api.add_api_route("/v1/tag", routes.tag, methods=["POST"], response_model=TagAnswer, responses=refusals)
    api.add_api_route("/healthz", routes.health, methods=["GET"], response_model=Health)
    api.add_exception_handler(RequestValidationError, _refuse_request)
    api.add_exception_handler(CorpusError, _refuse_texts)
    return api


class _Routes:
    """What is asked of the tagger.

    One thread tags, one request after the other: the replica's event loop stays free for health checks and new
    requests, and a tagger need not be safe to use from several threads (fast tokenizers are not).
    """

    def __init__(self, tagger: Tagger, max_texts: int) -> None:
        self._tagger, self._max_texts = tagger, max_texts
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tag")

    async def tag(self, request: TagRequest) -> JSONResponse:
        """Tags the texts of one request as one list."""
        if len(request.texts) > self._max_texts:
            message = f"{len(request.texts)} texts; at most {self._max_texts} in one request (serve.max_texts)"
            return _refusal([{"loc": ["body", "texts"], "msg": message, "type": "too_many_texts"}])
        loop = asyncio.get_running_loop()
        return JSONResponse(await loop.run_in_executor(self._thread, self._answer, request))

    async def health(self) -> Health:
        """Which bundle is served, the fields of its documents, and the licences of the models in it."""
        tagger = self._tagger
        licences = tagger.manifest.get("licences", {})
        fields = list(text_fields(tagger.manifest))
        return Health(
            status="ok", bundle=tagger.bundle_id, labels=len(tagger.labels), fields=fields, licences=licences
        )

    def _answer(self, request: TagRequest) -> dict[str, Any]:
        labels = self._tagger.labels
        allowed_L = _allowed(request, labels)
        tagger, features = self._tagger, None
        k = request.k or tagger.keep_k
        texts = read_texts(tagger.manifest, request.texts)
        if allowed_L is None and not isinstance(tagger, Xml0Tagger):
            scores = tagger.tag(texts, k)
        else:
            features = tagger.encode(texts)
            scores = tagger.search(features, k, allowed_L)
        blank_B = scores.empty_B
        if allowed_L is not None and blank_B.any():  # or the text has labels, but none of those that were asked for
            blank_B = blank_B & tagger.search(features, 1).empty_B
        results: list[dict[str, Any]] = [
            {"tags": [{"label_id": name, "title": _title(labels, name), "score": score} for name, score in pairs]}
            for pairs in named(scores, labels)
        ]
        for row in np.flatnonzero(blank_B):
            results[row]["blank"] = True
        if isinstance(tagger, Xml0Tagger) and features is not None:
            for result, fused in zip(results, tagger.fused(features, scores), strict=True):
                for tag, one in zip(result["tags"], fused, strict=False):
                    tag |= {"fused": one.labels, "proven": one.proven} if one.labels else {}
        return {"bundle": self._tagger.bundle_id, "label_set": labels.fingerprint, "results": results}


def _allowed(request: TagRequest, labels: LabelSet) -> BoolArray | None:
    """Bool (L,), the labels that a request lets be answered; None for all."""
    if request.allow is None and request.below is None and not request.deny:
        return None
    allowed_L = ~labels.mask(request.deny)
    if request.allow is not None:
        allowed_L &= labels.mask(request.allow)
    return allowed_L if request.below is None else allowed_L & labels.below(request.below)


def _title(labels: LabelSet, label_id: str) -> str:
    return labels.titles[labels.index[label_id]]


async def _refuse_request(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own answer without the input, which may be large and need not be valid Unicode."""
    flaws = error.errors()[:SHOWN_FLAWS] if isinstance(error, RequestValidationError) else []
    return _refusal([{key: flaw[key] for key in ("loc", "msg", "type")} for flaw in flaws])


async def _refuse_texts(request: Request, error: Exception) -> JSONResponse:
    return _refusal([{"loc": ["body"], "msg": str(error), "type": "cannot_be_tagged"}])


def _refusal(flaws: list[dict[str, Any]]) -> JSONResponse:
    return _AsciiResponse({"detail": flaws}, status_code=422)


class _AsciiResponse(JSONResponse):
    """JSON that stays valid UTF-8 where a name in the request is not."""

    def render(self, content: Any) -> bytes:
        """See `JSONResponse.render`."""
        return json.dumps(content).encode("ascii")
