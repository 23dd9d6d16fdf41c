"""A model's logits times a factor."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.models import logits

SPAN = 10.0  # of the logits that an ordinary network, trained with cross-entropy, gives to an image


class Rescaled(nn.Module):
    """Logits scaled so that the median image's span about 10: same answers, no saturated softmax (ours).

    Args:
        model: any.
        inputs: a few, on which the factor is measured once.
    """

    def __init__(self, model: nn.Module, inputs: Float[Tensor, "images *shape"]) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            outputs = logits(model, inputs)
        self.factor = SPAN / float((outputs.amax(1) - outputs.amin(1)).median().clamp_min(1e-30))

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
        """The scaled logits."""
        return logits(self.model, inputs) * self.factor
