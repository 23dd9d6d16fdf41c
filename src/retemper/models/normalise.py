"""Input normalisation as the first layer, so that attacks and penalties work on inputs in [0,1]."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.errors import SettingError


class Normalise(nn.Module):
    """Subtract a mean and divide by a standard deviation, per channel, or one of each for all coordinates.

    >>> Normalise([0.5], [0.25])(torch.tensor([[0.0, 1.0]]))
    tensor([[-2.,  2.]])

    Raises:
        SettingError: the lengths differ, a standard deviation is not positive, or inputs have another number of
            channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise SettingError(f"Expected as many means as standard deviations, but got {mean} and {std}.")
        if not all(value > 0 for value in std):
            raise SettingError(f"Expected standard deviations above 0, but got {tuple(std)}.")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.get_default_dtype()))
        self.register_buffer("std", torch.tensor(std, dtype=torch.get_default_dtype()))

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images *shape"]:
        """Normalise a batch of images (N, C, H, W) or vectors (N, D)."""
        if len(self.mean) not in (1, inputs.shape[1]):  # which would be repeated as often, and no error
            raise SettingError(
                f"Expected inputs of {len(self.mean)} channels, one for each mean, but got {inputs.shape[1]}."
            )
        shape = (1, -1, *[1] * (inputs.dim() - 2))
        return (inputs - self.mean.view(shape)) / self.std.view(shape)
