"""What workers that share the labels ask of each other within a pass. One that gives it up leaves none waiting."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed


class WorkerFailed(Exception):
    """Another worker has given up the pass that all are in."""


class Mirror(NamedTuple):
    """Stands for a group of workers that all hold what this one holds: it takes the memory, and asks nobody."""

    rank: int
    workers: int


def total(value: float, device: torch.device | str) -> float:
    """The sum over workers. Twice float32 is enough for seconds, and every backend has it."""
    tensor = torch.tensor([value], dtype=torch.float32, device=device)
    torch.distributed.all_reduce(tensor)
    return float(tensor[0])


def meet(device: torch.device | str) -> None:
    """Comes before whatever workers ask of each other within a pass.

    A worker that gives a pass up calls `total(1.0)` at once, which is the same request: the others hear it where
    they meet next, or at the end of the step.

    Raises:
        WorkerFailed: one has.
    """
    if total(0.0, device):
        raise WorkerFailed


class _Gather(torch.autograd.Function):
    """Stacks every worker's tensor; the gradient of a worker's own part is the sum over all workers."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        every = own.new_empty((torch.distributed.get_world_size(group), *own.shape))
        own = own.contiguous()
        meet(own.device)
        torch.distributed.all_gather(list(every), own, group=group)
        return every

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        total_gradient = gradients[0].contiguous()
        meet(total_gradient.device)
        torch.distributed.all_reduce(total_gradient, group=ctx.group)
        return total_gradient[torch.distributed.get_rank(ctx.group)], None


def gather(own: torch.Tensor, group: Any) -> torch.Tensor:
    """Tensors of one shape from all workers, (workers, …), through which gradients flow back and are summed.

    Raises:
        WorkerFailed: another worker has given up the pass; backward passes raise it as well.
    """
    if isinstance(group, Mirror):
        return torch.stack([own] * group.workers)
    gathered = _Gather.apply(own, group)
    assert isinstance(gathered, torch.Tensor)
    return gathered
