"""What is shared among processes within a step: logits and labels, so that pairs of images span them, and draws."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor


def gathered(
    logits: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]
) -> tuple[Float[Tensor, "all_images classes"], Int[Tensor, " all_images"]]:
    """Those of the joined batch, in the order of the processes; the same ones where no processes are joined.

    Every process must call it, with a batch of any length, none included. If all compute the same loss from the
    whole, its gradient, averaged over the processes as DistributedDataParallel does, is that of one process on the
    joined batch.
    """
    if not _joined():
        return logits, labels
    return _Gathered.apply(logits), _all(labels)[0]  # type: ignore[no-untyped-call]  # torch gives `apply` no types


def agreed(own: int, device: torch.device) -> int:
    """The first process's number, in every one of them; the own one where no processes are joined."""
    if not _joined():
        return own
    number = torch.tensor(own, device=device)
    dist.broadcast(number, src=0)
    return int(number)


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _Gathered(torch.autograd.Function):
    """All processes' rows, with a gradient for the own ones.

    Averaging over P processes takes 1 / P of what flows through each one's rows, so those get P times their gradient.
    `torch.distributed.nn.functional.all_gather` has the same P by summing the processes' gradients, which are P times
    the same: a second exchange for nothing, and on top it wants batches of one length.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        rows, ctx.place = _all(own)
        return rows

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return dist.get_world_size() * gradient[ctx.place]


def _all(own: Tensor) -> tuple[Tensor, slice]:
    """The rows of all processes, and where the own ones are among them."""
    lengths = [own.new_empty(1, dtype=torch.long) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, own.new_full((1,), len(own), dtype=torch.long))
    rows = [int(length) for length in lengths]
    # What is exchanged has one shape everywhere.
    padded = own.new_zeros(max(rows), *own.shape[1:])
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in rows]
    dist.all_gather(parts, padded)
    start = sum(rows[: dist.get_rank()])
    return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)]), slice(start, start + len(own))
