"""A training checkpoint: a folder of safetensors, the optimizer's tensors and a JSON file; nothing is unpickled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Weights = dict[str, torch.Tensor]
STATE = "state.json"


@dataclass
class State:
    """Where a training stands; all of it is restored after a kill.

    Attributes:
        step: steps done.
        steps: of the whole training, fixed before the first.
        parts: in how many parts a step goes through the encoder.
        evaluations: what each evaluation measured, oldest first.
        best: the highest score of an evaluation, and `best_step` the step it was at.
        since_best: evaluations since then.
        seconds: of training so far, over all attempts.
        cpu_s: CPU seconds of all workers so far, over all attempts.
        stopped: why training ended early, or "".
        outcome: the guard's decision at the end.
    """

    step: int = 0
    steps: int = 0
    parts: int = 1
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    best: float = -1.0
    best_step: int = 0
    since_best: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    stopped: str = ""
    outcome: dict[str, Any] = field(default_factory=dict)


def trained_weights(module: torch.nn.Module) -> Weights:
    """A copy of every parameter that is trained, on the CPU."""
    # A clone: the parameters themselves go on changing.
    return {name: value.detach().cpu().clone() for name, value in module.named_parameters() if value.requires_grad}


def set_weights(module: torch.nn.Module, weights: Weights) -> None:
    """Puts weights into a module, by name; every trained parameter must be among them."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.requires_grad:
                value.copy_(weights[name])


def write_checkpoint(
    folder: Path, weights: Weights, best: Weights, optimizer: dict[str, Any], state: State
) -> None:
    """Writes a checkpoint's files."""
    save_file(weights, folder / "model.safetensors")
    save_file(best, folder / "best.safetensors")
    torch.save(optimizer, folder / "optimizer.pt")
    (folder / STATE).write_text(json.dumps(asdict(state), indent=1) + "\n")


def read_state(folder: Path) -> State:
    """The state of a checkpoint."""
    return parse_state((folder / STATE).read_text())


def parse_state(text: str | bytes) -> State:
    """The state in the file `STATE` of a checkpoint."""
    return State(**json.loads(text))


def read_weights(folder: Path, name: str = "model") -> Weights:
    """The weights of a checkpoint: `model`, or `best`."""
    return load_file(folder / f"{name}.safetensors")


def read_optimizer(folder: Path) -> dict[str, Any]:
    """The optimizer's state."""
    return torch.load(folder / "optimizer.pt", weights_only=True, map_location="cpu")
