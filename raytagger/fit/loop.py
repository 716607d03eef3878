"""The training loop of one worker: AdamW, warm-up, clipping, parts, evaluations, checkpoints, the guard."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed

from raytagger.errors import CapacityError
from raytagger.fit.checkpoint import (
    State,
    read_optimizer,
    read_state,
    read_weights,
    set_weights,
    trained_weights,
    write_checkpoint,
)
from raytagger.fit.estimate import Estimate, planned_steps
from raytagger.fit.guard import GUARD_PATIENCE, Measured, choose_mixture, mix
from raytagger.fit.job import Place
from raytagger.fit.schedule import rate_share
from raytagger.objectives.workers import WorkerFailed, total
from raytagger.progress import Progress
from raytagger.settings import TrainSettings

MOST_PARTS = 64
PROBES = 3  # steps that are timed, without being taken, before training


class Task(Protocol):
    """What a recipe gives the loop; every worker has its own."""

    @property
    def module(self) -> torch.nn.Module:
        """Gives the loss of one part of a step; the losses of all parts and workers sum to the step's."""
        ...

    @property
    def steps_an_epoch(self) -> int:
        """Steps of one pass over the documents."""
        ...

    @property
    def wanted_steps(self) -> int:
        """Steps of the whole training, where no limit of time ends it before."""
        ...

    def parameters(self) -> list[dict[str, Any]]:
        """The optimizer's groups, each with its `full_rate`."""
        ...

    def steps(self, step: int, parts: int) -> Iterator[Any]:
        """This worker's parts of a step."""
        ...

    def longest_step(self) -> int:
        """The step that needs the most memory."""
        ...

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Within it a pass through `module` asks nothing of other workers, and takes as much memory."""
        ...

    def measure(self) -> Measured:
        """Figures of the module as it stands; called by all workers together."""
        ...

    def spread(self) -> dict[str, Any]:
        """How far label embeddings lie apart."""
        ...


class Report(Protocol):
    """Hands figures and a checkpoint to whoever keeps them; called by all workers together."""

    def __call__(self, figures: dict[str, Any], write: Callable[[Path], None]) -> None:
        """Keeps both; `write` puts the checkpoint's files into a folder."""
        ...


class Clocks(NamedTuple):
    """Seconds of wall time, and CPU seconds of this process."""

    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> Clocks:
        """As they stand."""
        return cls(time.perf_counter(), time.process_time())


class Loop:
    """Trains a task to its end, from a checkpoint's folder where there is one."""

    def __init__(
        self,
        task: Task,
        train: TrainSettings,
        place: Place,
        report: Report,
        progress: Progress,
        say: Callable[[str], None],
        started: Clocks,
    ) -> None:
        self._task, self._train, self._place = task, train, place
        self._report, self._progress, self._say = report, progress, say
        self._start = trained_weights(task.module)
        self._trained = [value for value in task.module.parameters() if value.requires_grad]
        self._optimizer = torch.optim.AdamW(task.parameters(), fused=True)
        self._half = _half_precision(place.device)
        self._scaler = torch.amp.GradScaler("cuda", enabled=self._half is torch.float16)
        self.state, self._best = State(), self._start
        self._loss_sum, self._loss_steps = 0.0, 0
        self._clock, self._cpu = started  # making the task counts as well

    def restore(self, folder: Path) -> None:
        """Takes up a checkpoint."""
        self.state, self._best = read_state(folder), read_weights(folder, "best")
        set_weights(self._task.module, read_weights(folder))
        self._optimizer.load_state_dict(read_optimizer(folder))

    def run(self) -> State:
        """Trains, and leaves the chosen weights in the module and in the last checkpoint."""
        state = self.state
        if state.outcome:
            return state
        if not state.steps:
            self._plan()
            self._evaluate()
        while state.step < state.steps and not state.stopped:
            self._loss_sum += self._take_step()
            self._loss_steps += 1
            state.step += 1
            self._progress("training", state.step, state.steps)
            if self._due():
                self._evaluate()
        self._finish()
        return state

    def _plan(self) -> None:
        """Fixes the number of steps and of parts, and tells what the training will take."""
        train, state = self._train, self.state
        wanted = self._task.wanted_steps
        self._fit_parts()
        started, cpu = time.perf_counter(), time.process_time()
        probes = min(PROBES, wanted)
        for step in range(probes):
            self._add_gradients(step)
        self._optimizer.zero_grad()
        step_s, step_cpu_s = (
            (time.perf_counter() - started) / probes,
            self._total(time.process_time() - cpu) / probes,
        )
        started, cpu = time.perf_counter(), time.process_time()
        self._task.measure()
        evaluation_s, evaluation_cpu_s = time.perf_counter() - started, self._total(time.process_time() - cpu)
        spent = self._total(time.process_time() - self._cpu)
        evaluations_cpu_s = evaluation_cpu_s * (train.evaluations + 1)
        planned = planned_steps(wanted, train.max_cpu_s, spent, step_cpu_s, evaluations_cpu_s)
        state.steps = int(self._first(planned))
        nodes = max(self._place.workers // self._place.local_workers, 1)
        estimate = Estimate(
            state.steps,
            step_s,
            evaluation_s,
            train.evaluations + 1,
            self._place.workers,
            nodes,
            train.price_node_hour,
        )
        self._say(estimate.line())

    def _fit_parts(self) -> None:
        """Finds in how many parts the longest step fits the memory, beside the optimizer's state to come."""
        reserved = [torch.zeros_like(value) for value in (*self._trained, *self._trained)]
        with self._task.alone():
            self._until_it_fits(lambda: self._backward(self._task.longest_step()))
        del reserved
        self._optimizer.zero_grad()

    def _until_it_fits(self, backward: Callable[[], float]) -> float:
        """Calls until no worker runs out of memory, each time with twice the parts for all."""
        state = self.state
        while (loss := self._unless_it_ends(backward)) is None:
            self._optimizer.zero_grad()
            if state.parts >= MOST_PARTS:
                raise CapacityError(
                    "a single document of the longest does not fit the memory",
                    got=f"train.batch_tokens / {MOST_PARTS}",
                    remedy="Lower encoder.max_tokens, freeze layers, or use a GPU with more memory.",
                )
            state.parts = min(2 * state.parts, MOST_PARTS)
            self._say(f"out of memory: each step is cut to train.batch_tokens / {state.parts} from here on")
        return loss

    def _unless_it_ends(self, backward: Callable[[], float]) -> float | None:
        """The loss, or None for all workers where the memory of one ended."""
        loss, failed = 0.0, 0.0
        try:
            loss = backward()
        except torch.OutOfMemoryError:
            failed = 1.0
        except WorkerFailed:  # which is heard but once
            return None
        return None if self._total(failed) else loss

    def _take_step(self) -> float:
        share = rate_share(self.state.step, self.state.steps, self._train.warm_up)
        for group in self._optimizer.param_groups:
            group["lr"] = group["full_rate"] * share
        loss = self._add_gradients(self.state.step)
        if not math.isfinite(loss):
            raise CapacityError(
                f"the loss is not finite at step {self.state.step}",
                got=loss,
                remedy="Lower train.learning_rate or train.projection_rate.",
            )
        self._scaler.unscale_(self._optimizer)
        if self._train.clip:
            torch.nn.utils.clip_grad_norm_(self._trained, self._train.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad()
        return loss

    def _add_gradients(self, step: int) -> float:
        """Adds a step's gradients of all workers; this worker's part of the loss, times the workers."""
        loss = self._until_it_fits(lambda: self._backward(step))
        if self._place.workers > 1:
            self._sum_gradients()
        return loss * self._place.workers

    def _sum_gradients(self) -> None:
        """Only now do gradients travel, so that a worker may begin a step anew before."""
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in self._trained]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        for value, summed in zip(
            self._trained, flat.split([value.numel() for value in self._trained]), strict=True
        ):
            value.grad = summed.view_as(value)

    def _backward(self, step: int) -> float:
        """Adds this worker's part of a step's gradient; the same of the loss."""
        # Dropout is a function of seed, step and worker, so that a resumed run draws the same.
        torch.manual_seed((self._train.seed * 1_000_003 + step) * 1_009 + self._place.rank)
        self._task.module.train()
        summed = 0.0
        for part in self._task.steps(step, self.state.parts):
            with self._autocast():
                loss = self._task.module(part)
            self._scaler.scale(loss).backward()
            summed += float(loss.detach())
        return summed

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast("cuda", dtype=self._half) if self._half else contextlib.nullcontext()

    def _due(self) -> bool:
        count, state = max(self._train.evaluations, 1), self.state
        return state.step * count // state.steps > (state.step - 1) * count // state.steps

    def _evaluate(self) -> None:
        """Measures, remembers the best weights, decides about stopping, and keeps a checkpoint."""
        state, measured = self.state, self._task.measure()
        score = measured.balance if self._train.guard == "stop" else measured.ndcg
        if score is None or score > state.best:
            state.best, state.best_step, state.since_best = score or 0.0, state.step, 0
            self._best = trained_weights(self._task.module)
        else:
            state.since_best += 1
        patience = self._train.patience or (GUARD_PATIENCE if self._train.guard == "stop" else 0)
        if patience and state.since_best >= patience:
            state.stopped = (
                f"no better {'balance' if self._train.guard == 'stop' else 'nDCG@5'} for {patience} evaluations"
            )
        self._tick()
        entry = {
            "step": state.step,
            "epoch": state.step / self._task.steps_an_epoch,
            "loss": self._mean_loss(),
            **measured.as_dict(),
            "spread": self._task.spread(),
            "seconds": state.seconds,
            "cpu_s": state.cpu_s,
        }
        state.evaluations.append(entry)
        self._say(_line(entry, state.steps))
        self._keep(measured)

    def _finish(self) -> None:
        """Puts the weights in that the guard chooses, and keeps them as the last checkpoint."""
        state, train = self.state, self._train
        state.outcome = {"mode": train.guard, "mixture": None, "points": [], "stopped_at": None}
        if state.stopped:
            state.outcome["stopped_at"] = state.step
        chosen = self._best
        if train.guard == "average" and state.evaluations[-1]["ZSR@10"] is not None:
            end = chosen

            def measure_at(mixture: float) -> Measured:
                set_weights(self._task.module, mix(self._start, end, mixture))
                return self._task.measure()

            mixture, points = choose_mixture(measure_at)
            chosen = mix(self._start, end, mixture)
            state.outcome |= {"mixture": mixture, "points": points}
        set_weights(self._task.module, chosen)
        measured = self._task.measure()
        state.outcome["chosen"] = measured.as_dict()
        self._tick()
        self._keep(measured)

    def _keep(self, measured: Measured) -> None:
        def write(folder: Path) -> None:
            weights = trained_weights(self._task.module)
            write_checkpoint(folder, weights, self._best, self._optimizer.state_dict(), self.state)

        self._report({"step": self.state.step, **measured.as_dict()}, write)

    def _tick(self) -> None:
        """Brings the clocks of the state up to now."""
        clock, cpu = time.perf_counter(), time.process_time()
        self.state.seconds += clock - self._clock
        self.state.cpu_s += self._total(cpu - self._cpu)
        self._clock, self._cpu = clock, cpu

    def _mean_loss(self) -> float | None:
        """Mean loss of all workers since the last evaluation."""
        total, steps = self._total(self._loss_sum), self._loss_steps
        self._loss_sum, self._loss_steps = 0.0, 0
        return total / self._place.workers / steps if steps else None

    def _total(self, value: float) -> float:
        """The sum over workers."""
        return value if self._place.workers == 1 else total(value, self._place.device)

    def _first(self, value: float) -> float:
        """The value of worker 0, so that all agree."""
        return round(self._total(value if self._place.rank == 0 else 0.0))


def _half_precision(device: str) -> torch.dtype | None:
    """Half precision on a GPU: bfloat16 where it has it, else float16; none on a CPU, where it is slower."""
    if not device.startswith("cuda"):
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _line(entry: dict[str, Any], steps: int) -> str:
    """An evaluation for a person."""
    names = ("nDCG@5", "ZSR@10", "UR@1")
    figures = ", ".join(f"{name} {100 * entry[name]:.1f}" for name in names if entry[name] is not None)
    loss = "" if entry["loss"] is None else f", loss {entry['loss']:.3f}"
    return f"step {entry['step']:,} of {steps:,}: {figures or 'nothing to measure'}{loss}, {entry['seconds']:.0f} s"
