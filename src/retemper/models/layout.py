"""The channels-last layout, where it pays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

WORTH_IT = 16 * 16  # pixels an image: below, the gain drowns in the cost (`python -m benchmarks precision`)


def channels_last_pays(shape: Sequence[int]) -> bool:
    """Whether inputs of this shape are images large enough for the channels-last layout."""
    return len(shape) == 3 and shape[1] * shape[2] >= WORTH_IT


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
