"""Counting the work of an attack: forward and backward passes, in images."""

from jaxtyping import Float
from torch import Tensor, nn

from retemper.models import logits


class Counted(nn.Module):
    """A model that counts how many images go through it, and how many gradients come back to them.

    It returns logits whatever the model returns. A backward pass counts when it reaches the inputs, each
    time that it does: several through one graph are several.

    >>> import torch
    >>> counted = Counted(nn.Linear(3, 2))
    >>> counted(torch.zeros(5, 3, requires_grad=True)).sum().backward()
    >>> counted.forwards, counted.backwards
    (5, 5)
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training  # not self.train, which would change modules inside that differ
        self.forwards = self.backwards = 0

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
        """The model's logits."""
        self.forwards += len(inputs)
        # A view, since a hook on the caller's own tensor would outlive this pass.
        seen = inputs.view_as(inputs)
        if seen.requires_grad:
            seen.register_hook(self._count)
        return logits(self.model, seen)

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)
