"""An encoder behind an HTTP endpoint that speaks the OpenAI embeddings protocol."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np

from raytagger.encoders.encoder import Embedded, finish
from raytagger.encoders.lazy import About
from raytagger.errors import CorpusError, RaytaggerError, SettingsError
from raytagger.settings import EncoderSettings

TRIES = 5
PAUSE_S = 0.2  # doubles from try to try
TIMEOUT_S = 120.0
BUSY = (429, 500, 502, 503, 504)
# Of too many texts, of one that is too long or unfit, and of a wrong request: servers differ in which is which.
REFUSED = (400, 413, 422)
NO_ENTRY = (401, 403)
PROBE = "probe"  # a text that only a wrong request is refused for


class HttpEncoder:
    """Posts texts to `PATH/embeddings` and reads the vectors.

    The bearer token is taken from the environment variable that `encoder.key_variable` names and is never stored.
    Such an endpoint does not say where it cuts a text.

    Raises:
        SettingsError: `encoder.batch_texts` is not positive; the endpoint is unreachable, refuses, or answers in
            another form.
    """

    def __init__(self, settings: EncoderSettings, folder: str) -> None:
        if settings.batch_texts < 1:
            raise SettingsError("encoder.batch_texts", got=settings.batch_texts, expected="at least 1")
        self._settings, self._url = settings, folder.rstrip("/")
        self._width = 0
        # No connection is kept, which a server may close while the next request is on its way.
        self._client = httpx.Client(timeout=TIMEOUT_S, limits=httpx.Limits(max_keepalive_connections=0))

    @property
    def width(self) -> int:
        """D, asked of the endpoint once."""
        if not self._width:
            self._width = self._embed([PROBE]).shape[1]
        return self._width

    @staticmethod
    def describe(settings: EncoderSettings, folder: str) -> About:
        """Address and model name; an endpoint that changes its weights must change one of them."""
        facts = ["http", folder.rstrip("/"), settings.model]
        return About(hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16], "unknown", {})

    @property
    def identity(self) -> str:
        """See `describe`."""
        return HttpEncoder.describe(self._settings, self._url).identity

    @property
    def licence(self) -> str:
        """An endpoint states none."""
        return "unknown"

    def encode(self, texts: Sequence[str], prompt: str = "") -> Embedded:
        """See `Encoder.encode`. A blank text is not sent.

        Busy answers are tried again with growing pauses, refused requests in halves.

        Raises:
            RaytaggerError: the endpoint stays busy, which is no text's fault.
            CorpusError: the endpoint refuses a text, and takes others.
            SettingsError: it refuses any text.
        """
        size = self._settings.batch_texts
        some = [row for row, text in enumerate(texts) if text.strip()]  # many endpoints refuse an empty text
        parts = [
            self._embed([prompt + texts[row] for row in some[start : start + size]])
            for start in range(0, len(some), size)
        ]
        vector_BD = np.zeros((len(texts), parts[0].shape[1] if parts else self.width), np.float32)
        if parts:
            vector_BD[some] = np.concatenate(parts)
        return Embedded(finish(vector_BD, texts), np.zeros(len(texts), bool))

    def save(self, folder: Path) -> None:
        """Nothing to write but the settings, which the bundle keeps."""
        folder.mkdir(parents=True, exist_ok=True)

    def _embed(self, texts: list[str]) -> np.ndarray:
        answer = self._post(texts)
        if answer.status_code not in REFUSED:
            return self._read(answer, len(texts))
        if len(texts) > 1:
            half = len(texts) // 2
            return np.concatenate([self._embed(texts[:half]), self._embed(texts[half:])])
        if not self._post([PROBE]).is_success:
            raise self._wrong_request(answer)
        raise CorpusError(
            "the embeddings endpoint refuses a text",
            got=f"HTTP {answer.status_code} '{_one_line(answer.text, 80)}' for '{_one_line(texts[0], 80)}'",
            remedy="Shorten or mend the text, or raise the endpoint's limit.",
        )

    def _post(self, texts: list[str]) -> httpx.Response:
        key = os.environ.get(self._settings.key_variable, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        body = {"model": self._settings.model, "input": texts}
        said = ""
        for attempt in range(TRIES):
            time.sleep(PAUSE_S * 2 ** (attempt - 1) if attempt else 0)
            try:
                answer = self._client.post(f"{self._url}/embeddings", json=body, headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise SettingsError(
                    f"the embeddings endpoint cannot be reached: {error}",
                    got=self._url,
                    remedy="Check encoder.path and that the server is up.",
                ) from error
            if answer.status_code not in BUSY:
                return answer
            said = f"HTTP {answer.status_code} {self._url} {_one_line(answer.text, 80)}".strip()
        raise RaytaggerError(
            f"the embeddings endpoint stayed busy over {TRIES} tries",
            got=said,
            remedy="See the server's log; lower encoder.batch_texts or cluster.workers if it is overloaded.",
        )

    def _read(self, answer: httpx.Response, rows: int) -> np.ndarray:
        if not answer.is_success:
            raise self._wrong_request(answer)
        try:
            data = sorted(answer.json()["data"], key=lambda item: item["index"])
            vector_BD = np.array([item["embedding"] for item in data], np.float32).reshape(len(data), -1)
            if rows and not vector_BD.size:
                raise ValueError("no vectors")
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                f"the embeddings endpoint answered HTTP {answer.status_code} in an unexpected form",
                got=answer.text[:200],
                expected='{"data": [{"index": 0, "embedding": […]}]}',
                remedy="Check encoder.path and encoder.model.",
            ) from error
        if len(vector_BD) != rows:
            raise SettingsError("the embeddings endpoint lost texts", got=len(vector_BD), expected=str(rows))
        return vector_BD

    def _wrong_request(self, answer: httpx.Response) -> SettingsError:
        """What the endpoint says of a request that no text is to blame for."""
        settings, status = self._settings, answer.status_code
        remedy = f"Check encoder.path and encoder.model ({settings.model!r})."
        if status in NO_ENTRY:
            known = "holds another key" if os.environ.get(settings.key_variable) else "is not set"
            remedy = f"Set {settings.key_variable} (encoder.key_variable) to the endpoint's key: it {known}."
        return SettingsError(
            f"the embeddings endpoint {self._url} refuses the request with HTTP {status}",
            got=_one_line(answer.text, 200),
            remedy=remedy,
        )


def _one_line(text: str, characters: int) -> str:
    return " ".join(text[:characters].split())
