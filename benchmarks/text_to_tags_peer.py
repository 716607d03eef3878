"""Raw text to tags by PECOS and by scikit-learn with PECOS, run by the interpreter of PECOS's environment.

Fits both vectorisers to the texts of a task, saves what they make of them and PECOS's own vectoriser, and answers.
Once the models are trained, each further line has it open them, tag all texts, or tag them one by one.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

NGRAMS, LEAST = (1, 2), 2  # words and pairs that stand in two texts or more
LAYERS = ("BINARY_SEARCH_CHUNKED", "HASH_CHUNKED")


class Pipelines:
    """Both vectorisers, and their models once they are open."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.texts: list[str] = json.loads((self.folder / "test.json").read_text())
        self.vectorise: dict[str, Callable[[list[str]], Any]] = {}
        self.models: dict[str, Any] = {}

    def fit(self) -> dict[str, Any]:
        """Fits both, and saves the training documents' features to `<row>.npz`."""
        from pecos.utils.featurization.text.preprocess import Preprocessor  # pyright: ignore[reportMissingImports]
        from sklearn.feature_extraction.text import TfidfVectorizer

        training = json.loads((self.folder / "train.json").read_text())
        options = {"ngram_range": NGRAMS, "min_df_cnt": LEAST, "sublinear_tf": True, "threads": 1}
        own = Preprocessor.train(training, {"type": "tfidf", "kwargs": options})
        own.save(str(self.folder / "pecos" / "preprocessor"))
        rival = TfidfVectorizer(
            ngram_range=NGRAMS,
            min_df=LEAST,
            sublinear_tf=True,
            dtype=np.float32,  # pyright: ignore[reportArgumentType] - as PECOS needs it
        ).fit(training)
        self.vectorise = {"pecos": lambda texts: own.predict(texts, threads=1), "sklearn": rival.transform}
        for row, vectorise in self.vectorise.items():
            sp.save_npz(self.folder / f"{row}.npz", sp.csr_matrix(vectorise(training)))
        return {}

    def open(self) -> dict[str, Any]:
        """Opens both models in both layer types."""
        from pecos.xmc.xlinear.model import XLinearModel  # pyright: ignore[reportMissingImports]

        for row in self.vectorise:
            for layers in LAYERS:
                self.models[f"{row} {layers}"] = XLinearModel.load(
                    str(self.folder / row), is_predict_only=True, weight_matrix_type=layers
                )
        return {}

    def batch(self, row: str, layers: str, k: int) -> dict[str, Any]:
        """CPU seconds for all texts at once; labels and scores go to `found_<row>.npz`."""
        started = time.process_time()
        found = self._tag(row, layers, self.texts, k)
        cpu_s = time.process_time() - started
        sp.save_npz(self.folder / f"found_{row}.npz", found)
        return {"cpu_s": cpu_s}

    def single(self, row: str, layers: str, k: int, documents: int) -> dict[str, Any]:
        """Seconds of each text alone."""
        seconds = []
        for text in self.texts[:documents]:
            started = time.perf_counter()
            self._tag(row, layers, [text], k)
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    def _tag(self, row: str, layers: str, texts: list[str], k: int) -> Any:
        options = {"beam_size": 10, "only_topk": k, "post_processor": "l3-hinge", "threads": 1}
        return self.models[f"{row} {layers}"].predict(self.vectorise[row](texts), **options)


def main() -> None:
    pipelines = Pipelines(json.loads(sys.stdin.readline())["folder"])
    print("{}", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(getattr(pipelines, task.pop("do"))(**task)), flush=True)


if __name__ == "__main__":
    main()
