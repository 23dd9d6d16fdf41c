"""Every n-th image of a batch, with a gradient in the layout of the whole."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def every_nth(
    activations: Float[Tensor, "images *shape"], first: int, every: int
) -> Float[Tensor, "chosen_images *shape"]:
    """`activations[first::every]`.

    The gradient of plain indexing is not channels-last where the activations are, and is then added to what comes
    from the next layer many times more slowly than one that is.
    """
    return _EveryNth.apply(activations, slice(first, None, every))  # type: ignore[no-untyped-call]  # torch gives it no types


class _EveryNth(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activations: Tensor, chosen: slice) -> Tensor:
        ctx.save_for_backward(activations)
        ctx.chosen = chosen
        return activations[chosen]

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (activations,) = ctx.saved_tensors
        gradient = torch.zeros_like(activations, dtype=upstream.dtype)
        gradient[ctx.chosen] = upstream
        return gradient, None
