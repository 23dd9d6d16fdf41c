"""SiLU with fast first and second derivatives: what an input-gradient penalty takes of it.

PyTorch makes the second derivative out of a dozen passes over the whole layer, and its first one is slow in bf16. Here
each chunk that fits into a core's cache is gone over once. What a step with the penalty costs: `python -m benchmarks
penalty`.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK = 2**15  # numbers at a time, on a CPU


class SiLU(nn.SiLU):
    """x sigmoid(x), `nn.SiLU` in all but speed (Elfwing et al. 2017, 1702.03118). In reverse mode alone."""

    def forward(self, input: Tensor) -> Tensor:
        """The activations, of the same shape."""
        return _Value.apply(input)  # type: ignore[no-untyped-call]  # torch gives it no types


class _Value(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.silu(x)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _Slope.apply(upstream, x)  # type: ignore[no-untyped-call]  # as above


class _Slope(torch.autograd.Function):
    """upstream * f'(x), with f' = s (1 + x (1 - s)) and s = sigmoid(x)."""

    @staticmethod
    def forward(ctx: Any, upstream: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(upstream, x)
        slope = torch.empty_like(x)
        for out, up, part in _chunks(slope, upstream, x):
            sigmoid = part.sigmoid()
            torch.sub(1, sigmoid, out=out).mul_(part).add_(1).mul_(sigmoid).mul_(up)
        return slope

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor]:
        """With f'' = s (1 - s) (2 + x (1 - 2 s))."""
        upstream, x = ctx.saved_tensors
        by_upstream, by_x = torch.empty_like(x), torch.empty_like(x)
        for out, bend, over, up, part in _chunks(by_upstream, by_x, above, upstream, x):
            sigmoid = part.sigmoid()
            rest = 1 - sigmoid
            product = sigmoid * rest
            torch.mul(part, product, out=out).add_(sigmoid).mul_(over)
            torch.sub(rest, sigmoid, out=bend).mul_(part).add_(2).mul_(product).mul_(up).mul_(over)
        return by_upstream, by_x


def _chunks(out: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same places of all tensors, as they lie in the memory of the first, which is written into."""
    order = sorted(range(out.ndim), key=out.stride().__getitem__, reverse=True)
    # What the loss or a layer sends back may lie otherwise in memory.
    same = (t if t.stride() == out.stride() else torch.empty_like(out).copy_(t) for t in others)
    rows = [t.permute(order).flatten() for t in (out, *same)]
    step = CHUNK if out.device.type == "cpu" else max(1, out.numel())
    for start in range(0, out.numel(), step):
        yield tuple(row[start : start + step] for row in rows)
