"""The channels-last layout, where it pays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models.inference import evaluation_mode, logits

WORTH_IT = 16 * 16  # pixels an image: below, the gain drowns in the cost (`python -m benchmarks precision`)


def channels_last_pays(shape: Sequence[int]) -> bool:
    """Whether inputs of this shape are images large enough for the channels-last layout."""
    return len(shape) == 3 and shape[1] * shape[2] >= WORTH_IT


def runs_channels_last(model: nn.Module, inputs: Float[Tensor, "images *shape"]) -> bool:
    """Whether the layout pays for inputs like these and the model runs in it, which is tried on them.

    A model that says `x.view(len(x), -1)` behind a convolution does not: its outputs have that layout, too.
    """
    if not channels_last_pays(inputs.shape[1:]):
        return False
    with channels_last(model), evaluation_mode(model), torch.no_grad():
        try:
            logits(model, inputs.contiguous(memory_format=torch.channels_last))
        except ModelError:
            return False
    return True


@contextmanager
def channels_last(model: nn.Module, *, wanted: bool = True) -> Iterator[None]:
    """Run the block with the weights in channels-last layout, if wanted; afterwards they are contiguous again.

    A model with weights for volumes, which have another layout of this kind, keeps its own.
    """
    wanted = wanted and all(tensor.dim() < 5 for tensor in [*model.parameters(), *model.buffers()])
    try:
        if wanted:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub forgets it
        yield
    finally:
        if wanted:
            model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as above
