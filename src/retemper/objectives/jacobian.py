"""The size of the logits' Jacobian by the inputs: how fast any of the scores can change when the input moves."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from retemper.checks import at_least_one
from retemper.models.differentiation import differentiating
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class Jacobian(Term):
    """The mean over images of ||J||_F^2, the sum of squares of all d z_k / d x_j, by random projections.

    With C logits and v drawn uniformly from the unit sphere in C dimensions, E ||v^T J||_2^2 = ||J||_F^2 / C. So the
    value is C / P times the sum over P projections of ||v^T J||_2^2, each of which takes one backward pass that is
    itself differentiated (Hoffman, Roberts & Yaida 2019, 1908.02729; the factor of 1/2 in front is left to the weight).

    The draws, others for each image, are from torch's global generator. In evaluation mode nothing is drawn: the value
    is exact, at a backward pass for each logit (ours). Layers that mix the images of a batch (batch normalisation in
    training mode) mix their Jacobians too.

    Args:
        projections: P; one does for batches of training.

    Raises:
        SettingError: `projections` is below 1.
    """

    projections: int = 1

    name = "jacobian"
    differentiates_inputs = True

    def __post_init__(self) -> None:
        at_least_one(projections=self.projections)

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean squared Frobenius norm over the batch: estimated in training mode, else exact."""
        projected = self._random(forward.logits) if forward.model.training else forward.logits.unbind(1)
        return torch.stack([_squared_gradients(logits, forward.inputs).mean() for logits in projected]).sum()

    def _random(self, logits: Float[Tensor, "images classes"]) -> Iterator[Float[Tensor, " images"]]:
        """C / P ||v^T J||^2 is the squared length of the gradient of sqrt(C / P) v^T z."""
        scale = (logits.shape[1] / self.projections) ** 0.5
        for _ in range(self.projections):
            yield scale * (F.normalize(torch.randn_like(logits), dim=1) * logits).sum(1)


def _squared_gradients(values: Float[Tensor, " images"], inputs: Tensor) -> Float[Tensor, " images"]:
    with differentiating():
        (gradient,) = torch.autograd.grad(values.sum(), inputs, create_graph=True)
    return gradient.flatten(1).square().sum(1)
