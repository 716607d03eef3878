"""A training step of OF-DE beside sentence-transformers' own trainer, and the same step with ever more labels.

Both train MiniLM on the same texts, 64 a step, cut to 64 tokens, on one CPU thread, in turns.
sentence-transformers gets (document, label text) pairs and MultipleNegativesRankingLoss, so that it encodes a label
for each document; ours has no auxiliary task there, for the label side is computed once. Another row gives what
λ = 1 adds.
"""

import os
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
from benchmarks.peers import bring
from raytagger.corpus import read_labels
from raytagger.encoders.locate import locate
from raytagger.fit.inputs import Inputs
from raytagger.fit.job import FitJob, Place
from raytagger.fit.loop import Loop
from raytagger.fit.onesided import OneSidedTask
from raytagger.progress import silent, unsaid
from raytagger.recipes.prepare import prepare
from raytagger.settings import EncoderSettings, FitRun, OutputSettings, StorageSettings, TrainSettings
from raytagger.store import Store
from raytagger.tables import table

DATA = "debtags"
BATCH, TURNS = 64, 3
PEERS = (
    "datasets==4.4.1",
    "accelerate==1.12.0",
    "dill==0.4.0",
    "multiprocess==0.70.18",
    "xxhash==3.6.0",
    "psutil==7.1.3",
)
PLAIN = TrainSettings(batch_size=BATCH, auxiliary=0.0, anchor=0.0, pseudo_unseen=0.0)


def measure(data: Path, quick: bool) -> dict[str, Any]:
    torch.set_num_threads(1)
    steps, turns = (2, 1) if quick else (6, TURNS)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        encoder = replace(ENCODER, device="cpu")
        run = FitRun(
            source=source_of(data, DATA), encoder=encoder, train=PLAIN, output=OutputSettings(f"{folder}/out")
        )
        labels = read_labels(Store(), run.source.labels)
        inputs = prepare(run, Store(), labels, silent, unsaid).inputs
        loops = {
            "ours": make_loop(encoder, PLAIN, inputs),
            "ours, 50,000 labels": make_loop(encoder, PLAIN, widened(inputs, 50_000)),
            "ours, λ = 1": make_loop(encoder, replace(PLAIN, auxiliary=1.0), inputs),
        }
        theirs = peer(run, inputs, steps * turns, folder)
        for turn in range(turns):
            for name, loop in loops.items():
                seconds.setdefault(name, []).append(timed(loop, turn * steps, steps))
            seconds.setdefault("sentence-transformers", []).append(next(theirs))
    step_s = {name: float(np.median(found)) for name, found in seconds.items()}
    print(table([[name, f"{value:.2f}"] for name, value in step_s.items()], ["row", "CPU s a step"]))
    return {
        "ratio": step_s["sentence-transformers"] / step_s["ours"],
        "ratio_50k_labels": step_s["ours, 50,000 labels"] / step_s["ours"],
        "step_cpu_s": step_s,
        "turns": seconds,
    }


def make_loop(encoder: EncoderSettings, train: TrainSettings, inputs: Inputs) -> Loop:
    """Our loop in this process."""
    job = FitJob("", encoder, train, StorageSettings(), False, True)
    task = OneSidedTask(job, Place(), inputs, Path(tempfile.mkdtemp()))
    loop = Loop(task, train, Place(), lambda figures, write: None, silent, unsaid, time.perf_counter())
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


def peer(run: FitRun, inputs: Inputs, steps: int, folder: str) -> Any:
    """CPU seconds a step of sentence-transformers' trainer, a turn at a time: six steps, or two when quick."""
    os.environ["TQDM_DISABLE"] = "1"
    bring(*PEERS)
    from datasets import Dataset  # pyright: ignore[reportMissingImports] - a rival's
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    labels = read_labels(Store(), run.source.labels)
    documents = (
        pq.read_table(run.source.documents, columns=["text", "labels", "split"]).slice(0, 40_000).to_pylist()
    )
    pairs = [
        (row["text"], labels.full_texts[labels.index[row["labels"][0]]])
        for row in documents
        if row["split"] == "train" and row["labels"] and row["labels"][0] in labels.index
    ][: BATCH * steps]
    model = SentenceTransformer(locate(run.encoder.path, Store()), device="cpu")
    model.max_seq_length = run.encoder.max_tokens
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.process_time() - self.started)

    per_turn = steps // (1 if steps == 2 else TURNS)
    for turn in range(steps // per_turn):
        part = pairs[turn * per_turn * BATCH : (turn + 1) * per_turn * BATCH]
        arguments = SentenceTransformerTrainingArguments(
            output_dir=f"{folder}/peer",
            per_device_train_batch_size=BATCH,
            num_train_epochs=1,
            max_grad_norm=1.0,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        data = Dataset.from_dict({"anchor": [a for a, _ in part], "positive": [b for _, b in part]})
        trainer = SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=data,
            loss=MultipleNegativesRankingLoss(model),
            callbacks=[Clock()],
        )
        times.clear()
        trainer.train()
        yield float(np.mean(times))
