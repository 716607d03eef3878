"""Raw text to 1-2-gram TF-IDF: ours beside scikit-learn's and PECOS's vectorisers, one thread each, in turns.

All three are fitted on the training documents of debtags, keep the terms that stand in two of them or more, and
weigh all documents. Ours sees words as scikit-learn does here, so that weights can be compared. PECOS neither
lower-cases nor strips punctuation: its vocabulary is another of like size.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.pecos_client import PASSIVE, pecos_python
from benchmarks.peers import LeftOut, Peer
from raytagger.tables import table
from raytagger.vectors import TfIdf
from raytagger.vectors.style import WORDS

DATA = "debtags"
TURNS, SINGLE = 7, 2000
PEER = Path(__file__).with_name("tfidf_peer.py")


def measure(data: Path, quick: bool) -> dict[str, Any]:
    texts, training = read_texts(data, 2000 if quick else None)
    single = texts[: 200 if quick else SINGLE]
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        started = time.process_time()
        ours = TfIdf.fit(training, min_frequency=2, words=WORDS)
        ours.warm()
        first_s, started = time.process_time() - started, time.process_time()
        TfIdf.fit(training, min_frequency=2, words=WORDS)
        fit_s = {"ours": time.process_time() - started}
        opened_ms = open_ms(ours, Path(folder) / "terms")
        started = time.process_time()
        rival = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True).fit(training)
        fit_s["scikit-learn"] = time.process_time() - started
        rows = {
            "ours": lambda: cpu_s(lambda: ours.transform(texts)),
            "scikit-learn": lambda: cpu_s(lambda: rival.transform(texts)),
        }
        terms, terms_a_document = {}, {}
        pecos: Peer | None = None
        try:
            pecos = stack.enter_context(Peer(pecos_python(quick), PEER, **PASSIVE))
        except LeftOut as why:
            left_out["PECOS"] = str(why)
        else:
            facts = ask_pecos(pecos, texts, training, Path(folder))
            fit_s["PECOS"], rows["PECOS"] = facts["fit_s"], lambda: pecos.ask("batch")
            terms["PECOS"], terms_a_document["PECOS"] = facts["terms"], facts["terms_a_document"]
        turns: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(1 if quick else TURNS):
            for name, run in rows.items():
                turns[name].append(len(texts) / run())
        single_us = {
            "ours": median_us(ours.rows, single),
            "ours, a matrix": median_us(ours.transform, single),
            "scikit-learn": median_us(rival.transform, single),
        }
        if pecos:
            single_us["PECOS"] = 1e6 * pecos.ask("single")
    rate = {name: float(np.median(found)) for name, found in turns.items()}
    print(
        table(
            [
                [name, *(f"{value:,.0f}" for value in (rate[name], single_us[name])), f"{fit_s[name]:.2f}"]
                for name in rows
            ],
            ["row", "documents / CPU s", "one text, µs", "fit, CPU s"],
        )
    )
    columns = [rival.vocabulary_[term] for term in ours.vocabulary.terms]
    theirs = sp.csr_matrix(rival.transform(texts))[:, columns]
    apart = abs(theirs - ours.transform(texts))
    return {
        "ratio_sklearn": rate["ours"] / rate["scikit-learn"],
        **({"ratio_pecos": rate["ours"] / rate["PECOS"]} if "PECOS" in rate else {}),
        "rate_docs_cpu_s": rate,
        "single_us": single_us,
        "fit_cpu_s": fit_s,
        "first_use_cpu_s": first_s,
        "open_ms": opened_ms,
        "terms": {"ours": len(columns), **terms},
        "terms_a_document": {"ours": ours.transform(texts).nnz / len(texts), **terms_a_document},
        "apart_from_sklearn": float(apart.max()),
        "turns": turns,
        "left_out": left_out,
    }


def read_texts(data: Path, limit: int | None) -> tuple[list[str], list[str]]:
    """All texts, and those of the training split."""
    rows = pq.read_table(data / DATA / "docs.parquet", columns=["text", "split"]).to_pylist()[:limit]
    return [row["text"] for row in rows], [row["text"] for row in rows if row["split"] == "train"]


def open_ms(ours: TfIdf, folder: Path) -> float:
    """Milliseconds until a saved vocabulary is mapped."""
    ours.save(folder)
    started = time.perf_counter()
    TfIdf.load(folder)
    return 1e3 * (time.perf_counter() - started)


def cpu_s(run: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    run()
    return time.process_time() - started


def median_us(weigh: Callable[[list[str]], object], texts: Sequence[str]) -> float:
    """Microseconds of one text, without a batch."""
    times = []
    for text in texts:
        started = time.perf_counter()
        weigh([text])
        times.append(time.perf_counter() - started)
    return 1e6 * float(np.median(times))


def ask_pecos(pecos: Peer, texts: list[str], training: list[str], folder: Path) -> dict[str, Any]:
    """Gives PECOS its texts; what it fitted."""
    task = {"texts": str(folder / "texts.json"), "training": str(folder / "training.json")}
    Path(task["texts"]).write_text(json.dumps(texts))
    Path(task["training"]).write_text(json.dumps(training))
    return pecos.ask(task)
