"""The size of the input gradient: how fast the loss or the scores can change when the input moves."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.errors import SettingError
from retemper.objectives.base import Term
from retemper.objectives.forward import Differentiated, ForwardPass

ORDERS = {"l1": 1, "l2": 2}


@dataclass(frozen=True)
class InputGradient(Term):
    """The mean over images of the norm of an input gradient, or of its square.

    To first order, moving an input by r in some norm raises the loss by at most r times the gradient's dual
    norm: "l1" for Linf threats, "l2" for L2 threats (`threat.dual`). Taken of the loss it is double
    backpropagation (Drucker & LeCun 1992; with the dual norm, 2409.20139). Layers that mix the images of a
    batch (batch normalisation in training mode) mix their gradients too.

    Args:
        of: "loss" for the cross-entropy; "scores" for z_y - max_{k != y} z_k, the margin.
        norm: "l1" or "l2".
        squared: penalise the square, which is smooth at zero, instead of the norm.

    Raises:
        SettingError: `of` or `norm` is something else.
    """

    of: Differentiated = "scores"
    norm: Literal["l1", "l2"] = "l2"
    squared: bool = True

    name = "input-gradient"
    differentiates_inputs = True

    def __post_init__(self) -> None:
        if self.of not in ("loss", "scores"):
            raise SettingError(f"Expected `of` to be 'loss' or 'scores', but got {self.of!r}.")
        if self.norm not in ORDERS:
            raise SettingError(f"Expected `norm` to be 'l1' or 'l2', but got {self.norm!r}.")

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean (squared) norm over the batch."""
        gradient = forward.input_gradient(self.of).flatten(1)
        if self.squared and self.norm == "l2":
            return gradient.square().sum(1).mean()
        norms = torch.linalg.vector_norm(gradient, ORDERS[self.norm], dim=1)
        return norms.square().mean() if self.squared else norms.mean()
