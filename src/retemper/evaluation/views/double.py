"""A model in float64."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models import logits


class Double(nn.Module):
    """A copy of a model in float64, where gradients that float32 rounds to zero are told.

    Attack it with inputs in float64, else they are rounded to zero all the same on their way back.

    Raises:
        ModelError: the model cannot be copied.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        try:
            self.model = copy.deepcopy(model).double()
        except (RuntimeError, TypeError) as error:
            raise ModelError(f"{type(model).__name__} cannot be copied into float64: {error}") from error

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
        """The logits, computed in float64 and returned in the type of the inputs."""
        return logits(self.model, inputs.to(torch.float64)).to(inputs.dtype)
