"""A small client of the endpoint. It needs httpx alone: no Ray, no torch.

>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     client.tag(["Prune plums in high summer."], k=2)
[[('garden/pruning', 0.61), ('garden/pests', 0.32)]]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from raytagger.errors import CapacityError, CorpusError, RaytaggerError, SettingsError

TEXTS_A_REQUEST = 64
TIMEOUT_S = 60.0


class Client:
    """Asks an endpoint that `raytagger serve` started. Closed on leaving a `with`.

    Args:
        address: such as `http://127.0.0.1:8000`.
        token: a bearer token, where the endpoint wants one.
        timeout_s: for one request.
        texts_a_request: longer lists go in several requests; the endpoint's `serve.max_texts` at most.

    Raises:
        SettingsError: the address is none.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        texts_a_request: int = TEXTS_A_REQUEST,
    ) -> None:
        if not address.startswith(("http://", "https://")):
            raise SettingsError("the endpoint's address", got=address, expected="http(s)://host:port")
        if texts_a_request < 1:
            raise SettingsError("texts_a_request", got=texts_a_request, expected="1 at least")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._address, self._texts_a_request = address.rstrip("/"), texts_a_request
        self._http = httpx.Client(headers=headers, timeout=timeout_s)

    def tag(
        self, texts: Iterable[str | Mapping[str, str | None]], k: int | None = None
    ) -> list[list[tuple[str, float]]]:
        """The k best labels of each text as (label id, score), best first, in the texts' order.

        Without `k` they are as many as the endpoint's bundle keeps as tags at most.

        A text may be an object of the bundle's fields, which `health` names. A text of which nothing is known, such
        as one without any known word, has none: an empty list.

        Raises:
            CorpusError: the endpoint refuses a text, or k; names which.
            SettingsError: the token is missing or unknown.
            CapacityError: the endpoint has too much to do.
            RaytaggerError: it cannot be reached or fails.
        """
        if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
            raise CorpusError("texts must be a list", got=texts, remedy="Put the one text into brackets.")
        asked = list(texts)
        tagged: list[list[tuple[str, float]]] = []
        for start in range(0, len(asked), self._texts_a_request):
            part = asked[start : start + self._texts_a_request]
            asked_k = {} if k is None else {"k": k}
            answer = self._ask("POST", "/v1/tag", start, json={"texts": part, **asked_k})
            tagged += [[(tag["label_id"], tag["score"]) for tag in row["tags"]] for row in answer["results"]]
        return tagged

    def health(self) -> dict[str, Any]:
        """What the endpoint serves: `status`, `bundle`, `labels`, `fields`, `licences`.

        Raises:
            RaytaggerError: it cannot be reached or fails.
        """
        return self._ask("GET", "/healthz")

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str, start: int = 0, **request: Any) -> dict[str, Any]:
        url = self._address + path
        try:
            answer = self._http.request(method, url, **request)
            if answer.is_success:
                return answer.json()
        except httpx.TimeoutException as error:
            remedy = "Raise timeout_s or send fewer texts at once (texts_a_request)."
            raise RaytaggerError(f"{url} did not answer in time", remedy=remedy) from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            remedy = "Is `raytagger serve` running there? Check the address."
            raise RaytaggerError(f"{url} cannot be asked: {error}", remedy=remedy) from error
        raise _explain(answer, url, start)


def _explain(answer: httpx.Response, url: str, start: int) -> RaytaggerError:
    status = answer.status_code
    if status == 401:
        return SettingsError(
            f"{url} wants a bearer token", got="none or an unknown one", remedy="Give Client(…, token=…)."
        )
    if status == 422:
        return CorpusError(f"{url} refuses the request: {_flaws(answer, start)}")
    if status in (408, 429, 503, 504):
        return CapacityError(
            f"{url} has too much to do", got=status, remedy="Ask later or more slowly, or raise serve.replicas_max."
        )
    return RaytaggerError(
        f"{url} failed", got=f"{status}: {answer.text[:200]}", remedy="Look at the endpoint's log."
    )


def _flaws(answer: httpx.Response, start: int) -> str:
    """`texts.67: the text is empty; k: …`, texts counted over the whole list."""
    try:
        return "; ".join(f"{_place(flaw['loc'][1:], start)}: {flaw['msg']}" for flaw in answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def _place(parts: list[str | int], start: int) -> str:
    return ".".join(str(part + start) if isinstance(part, int) else part for part in parts)
