"""A tagger in a process of its own, for batches that have killed their worker twice.

The child is `python -m raytagger.stream.isolate`: a line of JSON in, a line of JSON out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np

from raytagger.bisect import ProcessDiedError
from raytagger.bundle import load
from raytagger.errors import CorpusError
from raytagger.schema import Scores
from raytagger.settings import SourceSettings, StorageSettings, make_run, to_values
from raytagger.store import Store
from raytagger.stream.job import TagJob, read_job_labels


class IsolatedTagger:
    """Tags in a child process that is started when needed and again after each death."""

    def __init__(self, job: TagJob) -> None:
        labels = {"labels": to_values(job.label_source), "label_set": job.label_set}
        self._opening = {"bundle": job.bundle, **labels, "storage": vars(job.storage), "k": job.k}
        self._child: subprocess.Popen[str] | None = None

    def tag(self, texts: Sequence[str]) -> tuple[Scores, int]:
        """Scores and how many texts were cut.

        Raises:
            ProcessDiedError: the child died; says by what.
            CorpusError: the child refused a text.
        """
        child = self._started()
        try:
            answer = _ask(child, {"texts": list(texts)})
        except (BrokenPipeError, ValueError):
            status = child.wait()
            self._child = None
            cause = f"signal {-status}" if status < 0 else f"exit code {status}"
            raise ProcessDiedError(f"the tagging process ended by {cause}") from None
        if "error" in answer:
            raise CorpusError(answer["error"])
        shape = (len(texts), -1)
        return (
            Scores(
                np.array(answer["labels"], np.int32).reshape(shape),
                np.array(answer["scores"], np.float32).reshape(shape),
            ),
            answer["cut"],
        )

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _started(self) -> subprocess.Popen[str]:
        if self._child is None:
            command = [sys.executable, "-m", "raytagger.stream.isolate"]
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            try:
                _ask(self._child, self._opening)
            except (BrokenPipeError, ValueError):
                self.close()
                raise CorpusError("the bundle cannot be loaded in a process of its own") from None
        return self._child


def _ask(child: subprocess.Popen[str], message: dict[str, Any]) -> dict[str, Any]:
    if child.stdin is None or child.stdout is None:
        raise ValueError("the child has no pipes")
    child.stdin.write(json.dumps(message) + "\n")
    child.stdin.flush()
    return json.loads(child.stdout.readline())


def answer_requests(requests: TextIO, answers: TextIO) -> None:
    """The child's loop: the first line says what to load, every other is a batch."""
    opening = json.loads(requests.readline())
    store = Store(make_run(opening["storage"], StorageSettings))
    tagger = load(opening["bundle"], store)
    if opening["label_set"]:
        source = make_run(opening["labels"], SourceSettings)
        tagger = tagger.with_labels(read_job_labels(store, source, opening["label_set"]))
    _say(answers, {"ready": True})
    for line in requests:
        try:
            features = tagger.encode(json.loads(line)["texts"])
            scores = tagger.search(features, opening["k"])
        except BaseException as error:  # noqa: BLE001 - told to the parent, which bisects
            _say(answers, {"error": f"{type(error).__name__}: {error}"[:500]})
            continue
        # JSON has no infinity; -inf stands only where a label is PAD.
        score_BK = np.where(np.isfinite(scores.score_BK), scores.score_BK, np.float32(-3e38))
        _say(
            answers,
            {
                "labels": scores.label_BK.tolist(),
                "scores": score_BK.tolist(),
                "cut": int(features.cut_B.sum()),
            },
        )


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    # Native libraries print to file descriptor 1 at times; answers keep a channel of their own.
    channel = open(sys.stdout.fileno(), "w", closefd=False)  # noqa: SIM115 - lives as long as the process
    answer_requests(sys.stdin, channel)
