"""PECOS's TF-IDF in a process of its own, run by the interpreter of its environment.

Reads a task as a line of JSON and answers with what it fitted, then measures once for each further line: `batch`
gives the CPU seconds for all texts, `single` the median seconds for one text.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from pecos.utils.featurization.text.vectorizers import Tfidf  # pyright: ignore[reportMissingImports] - a rival's

SINGLE = 2000  # texts that are timed one by one


def main() -> None:
    task = json.loads(sys.stdin.readline())
    texts, training = json.loads(Path(task["texts"]).read_text()), json.loads(Path(task["training"]).read_text())
    config = {"ngram_range": (1, 2), "min_df_cnt": 2, "sublinear_tf": True, "threads": 1}
    started = time.process_time()
    model = Tfidf.train(training, config)
    fit_s = time.process_time() - started
    weights = predict(model, texts)
    answer({"fit_s": fit_s, "terms": weights.shape[1], "terms_a_document": weights.nnz / len(texts)})
    for line in sys.stdin:
        if json.loads(line) == "batch":
            started = time.process_time()
            predict(model, texts)
            answer(time.process_time() - started)
        else:
            answer(median_s(model, texts[:SINGLE]))


def predict(model: Any, texts: list[str]) -> Any:
    return model.predict(texts, threads=1)


def median_s(model: Any, texts: list[str]) -> float:
    times = []
    for text in texts:
        started = time.perf_counter()
        predict(model, [text])
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def answer(value: object) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
