"""A training step of OF-DE beside sentence-transformers' own trainer, and the same step with ever more labels.

Both train MiniLM on the same texts, 64 a step, cut to 64 tokens, on one CPU thread, in turns.
sentence-transformers gets (document, label text) pairs and MultipleNegativesRankingLoss, so that it encodes a label
for each document; ours has no auxiliary task there, for the label side is computed once. Another row gives what
λ = 1 adds.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
import torch

from benchmarks.ofde import ENCODER, source_of
from benchmarks.peers import Peer
from raytagger.corpus import read_labels
from raytagger.encoders.locate import locate
from raytagger.fit.inputs import Inputs
from raytagger.fit.job import FitJob, Place
from raytagger.fit.loop import Clocks, Loop
from raytagger.fit.onesided import OneSidedTask
from raytagger.progress import silent, unsaid
from raytagger.recipes.prepare import prepare
from raytagger.settings import EncoderSettings, FitRun, OutputSettings, StorageSettings, TrainSettings
from raytagger.store import Store
from raytagger.tables import table

DATA = "debtags"
THEIRS, PEER = "sentence-transformers", (sys.executable, "-m", "benchmarks.train_step_peer")
BATCH, TURNS = 64, 3
PLAIN = TrainSettings(batch_size=BATCH, auxiliary=0.0, anchor=0.0, pseudo_unseen=0.0)


def measure(data: Path, quick: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    steps, turns, many = (1, 1, 500) if quick else (6, TURNS, 50_000)
    plain = replace(PLAIN, batch_size=4) if quick else PLAIN
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, Peer(*PEER) as peer:
        encoder = replace(ENCODER, device="cpu")
        run = FitRun(
            source=source_of(data, DATA), encoder=encoder, train=plain, output=OutputSettings(f"{folder}/out")
        )
        labels = read_labels(Store(), run.source.labels)
        inputs = prepare(run, Store(), labels, silent, unsaid).inputs
        loops = {
            "ours": make_loop(encoder, plain, inputs),
            f"ours, {many:,} labels": make_loop(encoder, plain, widened(inputs, many)),
            "ours, λ = 1": make_loop(encoder, replace(plain, auxiliary=1.0), inputs),
        }
        left_out = peer.ask(task_of(run, steps, turns, folder) | {"install": not quick})
        for turn in range(turns):
            for name, loop in loops.items():
                seconds.setdefault(name, []).append(timed(loop, turn * steps, steps))
            if not left_out:
                seconds.setdefault(THEIRS, []).append(peer.ask("go"))
    step_s = {name: float(np.median(found)) for name, found in seconds.items()}
    print(table([[name, f"{value:.2f}"] for name, value in step_s.items()], ["row", "CPU s a step"]))
    return {
        **({} if left_out else ratios(step_s)),
        "ratio_50k_labels": step_s[f"ours, {many:,} labels"] / step_s["ours"],
        "step_cpu_s": step_s,
        "turns": seconds,
        "left_out": {THEIRS: left_out["left_out"]} if left_out else {},
    }


def ratios(step_s: dict[str, float]) -> dict[str, float]:
    """How many times as many CPU seconds theirs takes."""
    return {"ratio": step_s[THEIRS] / step_s["ours"], "ratio_λ_1": step_s[THEIRS] / step_s["ours, λ = 1"]}


def make_loop(encoder: EncoderSettings, train: TrainSettings, inputs: Inputs) -> Loop:
    """Our loop in this process."""
    job = FitJob("", encoder, train, StorageSettings(), False, True)
    task = OneSidedTask(job, Place(), inputs, Path(tempfile.mkdtemp()))
    loop = Loop(task, train, Place(), lambda figures, write: None, silent, unsaid, Clocks.now())
    loop.state.steps = 10_000
    return loop


def timed(loop: Loop, start: int, steps: int) -> float:
    """CPU seconds of one step."""
    started = time.process_time()
    for step in range(start, start + steps):
        loop.state.step = step
        loop._take_step()
    return (time.process_time() - started) / steps


def widened(inputs: Inputs, labels: int) -> Inputs:
    """The same with so many labels, the new ones trained negatives at random places."""
    more = labels - len(inputs.count_L)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(more, inputs.label_LE.shape[1])).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gold = sp.csr_matrix(
        (inputs.gold.data, inputs.gold.indices, inputs.gold.indptr), (len(inputs.documents), labels)
    )
    return replace(
        inputs,
        gold=gold,
        label_LE=np.concatenate([inputs.label_LE, vectors]),
        twin_L=np.arange(labels),
        count_L=np.concatenate([inputs.count_L, np.ones(more, np.int64)]),
        hidden_L=np.concatenate([inputs.hidden_L, np.zeros(more, bool)]),
        usable_L=np.concatenate([inputs.usable_L, np.ones(more, bool)]),
    )


def task_of(run: FitRun, steps: int, turns: int, folder: str) -> dict[str, Any]:
    """What sentence-transformers' trainer is to train."""
    labels = read_labels(Store(), run.source.labels)
    rows = pq.read_table(run.source.documents, columns=["text", "labels", "split"]).to_pylist()
    pairs = [
        (row["text"], labels.full_texts[labels.index[row["labels"][0]]])
        for row in rows
        if row["split"] == "train" and row["labels"] and row["labels"][0] in labels.index
    ]
    return {
        "model": str(locate(run.encoder.path, Store())),
        "max_tokens": run.encoder.max_tokens,
        "batch": run.train.batch_size,
        "steps": steps,
        "pairs": pairs[: run.train.batch_size * steps * turns],
        "output": f"{folder}/peer",
    }
