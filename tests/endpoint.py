"""A real server that speaks the OpenAI embeddings protocol over an encoder of ours."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Endpoint:
    """What the server does next, and what it was asked."""

    def __init__(self, encoder) -> None:
        self.encoder, self.url, self.asked, self.headers = encoder, "", [], []
        self.statuses = []  # to answer before it works
        self.answer = self.embed

    def embed(self, texts):
        rows = self.encoder.encode(texts).vector_BD.astype(float).tolist()
        data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
        return 200, {"object": "list", "data": data[::-1], "model": "minilm"}  # the order is in the index alone

    def refuse(self, refused: Callable[[list[str]], bool], status: int, words: object) -> None:
        """From here on requests whose texts are `refused` are answered with this status and these words."""
        self.answer = lambda texts: (status, words) if refused(texts) else self.embed(texts)

    def refuse_large(self, at_most: int, characters: int, status: int, words: str) -> None:
        """From here on more texts than `at_most`, or a text of more `characters`, are refused in these words."""

        def large(texts):
            return len(texts) > at_most or max(map(len, texts)) > characters

        self.refuse(large, status, {"message": words, "type": "Validation"})


@contextmanager
def serving(encoder) -> Iterator[Endpoint]:
    """The endpoint at a free port, while the block runs."""
    served = Endpoint(encoder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append(body)
            served.headers.append(dict(self.headers))
            if self.path != "/v1/embeddings":
                status, answer = 404, {"error": "not found"}
            elif served.statuses:
                status, answer = served.statuses.pop(0), {"error": "later"}
            else:
                status, answer = served.answer(body["input"])
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        served.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield served
        server.shutdown()
