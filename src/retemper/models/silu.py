"""SiLU with fast first and second derivatives: what an input-gradient penalty takes of it.

PyTorch's first derivative takes several times as long where what comes back from the next layer lies otherwise in
memory, as after a pooling; so it is laid out alike first. Its second one is made out of a dozen passes over the whole
layer; here each chunk that fits into a core's cache is gone over once. What a step with the penalty costs:
`python -m benchmarks penalty`.
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
        slope: Tensor = torch.ops.aten.silu_backward(_laid_out_as(x, upstream), x)
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
    rows = [_laid_out_as(out, t).permute(order).flatten() for t in (out, *others)]
    step = CHUNK if out.device.type == "cpu" else max(1, out.numel())
    for start in range(0, out.numel(), step):
        yield tuple(row[start : start + step] for row in rows)


def _laid_out_as(layer: Tensor, other: Tensor) -> Tensor:
    """The other tensor in the memory layout of the layer: what a loss or a pooling sends back may have another."""
    return other if other.stride() == layer.stride() else torch.empty_like(layer).copy_(other)
