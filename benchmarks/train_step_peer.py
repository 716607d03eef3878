"""sentence-transformers' trainer in a process of its own: transformers looks for accelerate once, when imported.

Reads a task as a line of JSON, then trains a turn for each further line and answers with its CPU seconds a step.
"""

import contextlib
import json
import os
import sys
import time
from typing import Any

import numpy as np

from benchmarks.peers import LeftOut, bring

PACKAGES = (
    "datasets==4.4.1",
    "accelerate==1.12.0",
    "dill==0.4.0",
    "multiprocess==0.70.18",
    "xxhash==3.6.0",
    "psutil==7.1.3",
)


def main() -> None:
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # the trainer prints its own figures
        task = json.loads(sys.stdin.readline())
        try:
            bring(*PACKAGES, install=task.pop("install"))
        except LeftOut as why:
            print(json.dumps({"left_out": str(why)}), file=answers, flush=True)
            return
        turn = prepare(**task)
        print("{}", file=answers, flush=True)
        for number, _ in enumerate(sys.stdin):
            print(turn(number), file=answers, flush=True)


def prepare(model: str, max_tokens: int, batch: int, steps: int, pairs: list[tuple[str, str]], output: str) -> Any:
    """A function that trains the n-th turn: MiniLM by MultipleNegativesRankingLoss on (document, label) pairs."""
    os.environ["TQDM_DISABLE"] = "1"
    import torch
    from datasets import Dataset  # pyright: ignore[reportMissingImports] - a rival's
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    torch.set_num_threads(1)
    encoder = SentenceTransformer(model, device="cpu")
    encoder.max_seq_length = max_tokens
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.process_time() - self.started)

    def turn(number: int) -> float:
        part = pairs[number * steps * batch : (number + 1) * steps * batch]
        arguments = SentenceTransformerTrainingArguments(
            output_dir=output,
            per_device_train_batch_size=batch,
            num_train_epochs=1,
            max_grad_norm=1.0,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model=encoder,
            args=arguments,
            train_dataset=Dataset.from_dict({"anchor": [a for a, _ in part], "positive": [b for _, b in part]}),
            loss=MultipleNegativesRankingLoss(encoder),
            callbacks=[Clock()],
        )
        times.clear()
        trainer.train()
        return float(np.mean(times))

    return turn


if __name__ == "__main__":
    main()
