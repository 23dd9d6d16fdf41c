"""The entropy of each image's activations, with its gradient, in one pass over the activations.

In plain operations the measure costs a training step about as much as the network does, in bf16 twice as much:
autograd keeps several float32 copies of every layer and goes over each of them again. Here a chunk that fits into a
core's cache is gone over once.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

TINY = 1e-30  # below any activation that matters, with a logarithm that is still finite in float32
CHUNK = 2**17  # numbers at a time: three float32 copies of them fit into a cache of 2 MB
LARGE_CHUNK = 2**23  # elsewhere than on the CPU, where each chunk is ten launches: three copies are 100 MB
HALF = (torch.bfloat16, torch.float16)


def fused_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """`plain_entropy`, found with its gradient in one pass that keeps nothing but one more copy of the activations.

    dH / da = sign(a) (m - log |a|) / S, with m the mean of log |a| weighted by |a|. It is zero at a = 0 and for an
    image whose activations are all zero, and rounded to the activations' own type; all sums are at least in float32.
    Second derivatives are those of `plain_entropy`, at its cost. In reverse mode alone: `torch.func` does not see it.
    """
    return _Entropy.apply(activations)  # type: ignore[no-untyped-call]  # torch gives it no types


def entropies(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, " images"]:
    """The entropy of each image, without a gradient."""
    return _entropies(activations, None)[0]


def plain_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """The definition: H = log S - (sum |a| log |a|) / S with S = sum |a|, averaged over images."""
    rows = activations.flatten(1)
    sizes = (rows.float() if rows.dtype in HALF else rows).abs()
    total = sizes.sum(1)
    alive = total > TINY
    scale = torch.where(alive, total, 1)
    entropies = scale.log() - (sizes * sizes.clamp_min(TINY).log()).sum(1) / scale
    return torch.where(alive, entropies, 0).mean()


class _Entropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activations: Tensor) -> Tensor:
        slopes = _like(activations) if ctx.needs_input_grad[0] else None
        entropies, factors = _entropies(activations, slopes)
        ctx.save_for_backward(activations, slopes, factors / len(factors))
        return entropies.mean()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        activations, slopes, factors = ctx.saved_tensors
        if torch.is_grad_enabled():
            (gradient,) = torch.autograd.grad(plain_entropy(activations), activations, upstream, create_graph=True)
            return gradient
        factors = (upstream * factors).to(slopes.dtype)
        return slopes * factors.view(-1, *[1] * (slopes.ndim - 1))


def _like(activations: Tensor) -> Tensor:
    """Memory for the slopes: laid out as the activations are, but where images lie inside of something else."""
    slopes = torch.empty_like(activations)
    if slopes.stride(0) == max(slopes.stride()):
        return slopes
    return torch.empty_like(activations, memory_format=torch.contiguous_format)


def _entropies(activations: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor]:
    """The entropy of each image, and what to multiply its slopes with to have its gradient.

    The slopes, sign(a) (m - log |a|), are written into what is given: they fit into half precision, while a gradient
    may be too small for float16 before the loss is scaled.
    """
    # Sums over units do not hang on the order: taken as they lie in memory, no layout needs a copy.
    strides = (activations if slopes is None else slopes).stride()
    order = sorted(range(1, activations.ndim), key=strides.__getitem__, reverse=True)
    rows = activations.permute(0, *order).flatten(1)
    images, units = rows.shape
    # A view, or an error: what is written into a copy would be lost.
    slope_rows = None if slopes is None else slopes.permute(0, *order).view(images, units)
    dtype = torch.float32 if rows.dtype in HALF else rows.dtype
    step = min(images, max(1, (CHUNK if rows.device.type == "cpu" else LARGE_CHUNK) // units))
    # Written over by every chunk: touching new memory takes longer than the arithmetic.
    scratch = rows.new_empty(3, step, units, dtype=dtype)
    totals, middles = rows.new_empty(2, images, 1, dtype=dtype)
    for start in range(0, images, step):
        chunk = slice(start, start + step)
        values = rows[chunk]
        wide, sizes, logs = scratch[:, : len(values)]
        if values.dtype != dtype:
            values = wide.copy_(values)
        torch.abs(values, out=sizes)
        torch.clamp_min(sizes, TINY, out=logs).log_()
        total = totals[chunk] = sizes.sum(1, keepdim=True)
        middle = middles[chunk] = sizes.mul_(logs).sum(1, keepdim=True) / total.clamp_min(TINY)
        if slope_rows is not None:
            torch.sgn(values, out=sizes)
            torch.sub(middle, logs, out=logs)
            slope_rows[chunk] = logs.mul_(sizes)
    alive = totals > TINY
    scale = torch.where(alive, totals, 1)
    return torch.where(alive, scale.log() - middles, 0)[:, 0], (alive / scale)[:, 0]
