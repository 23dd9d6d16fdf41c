"""The size of the input gradient: how fast the loss or the scores can change when the input moves."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.checks import at_least_one
from retemper.errors import SettingError
from retemper.objectives.base import Term
from retemper.objectives.forward import Differentiated, ForwardPass
from retemper.objectives.second_pass import every_nth_image, moved
from retemper.threats import L2, Linf

ORDERS = {"l1": 1, "l2": 2}
# The directions, one long in the threat's norm, in which the dual norm of the gradient is the slope.
STEEPEST = {threat.dual: threat.steepest for threat in (Linf(1.0), L2(1.0))}


@dataclass(frozen=True)
class InputGradient(Term):
    """The mean over images of the norm of an input gradient, or of its square.

    To first order, moving an input by r in some norm raises the loss by at most r times the gradient's dual
    norm: "l1" for Linf threats, "l2" for L2 threats (`threat.dual`). Taken of the loss it is double
    backpropagation (Drucker & LeCun 1992; with the dual norm, 2409.20139). Layers that mix the images of a
    batch (batch normalisation in training mode) mix their gradients too.

    With `step=h` the norm is measured by a finite difference and not differentiated twice: it is the slope
    (f(x + h d) - f(x)) / h of the loss or of the margin f, with d the direction of steepest ascent, the sign of the
    gradient g for "l1" and g / ||g||_2 for "l2", held constant. So inputs are moved by h, a step to measure a
    derivative (2/255, say: well below the radius of the threat). As h goes to 0 the slope becomes the norm; at any
    other h it also sees how f bends within the step, for ReLU networks too, and is below 0 where f bends down by more
    than it rises. Where g is 0, so is the term. The moved inputs may leave [0, 1] by h: clipped, they would measure
    another norm. The second forward pass makes the same random draws as the first (dropout) and leaves running
    statistics alone; batch normalisation in training mode takes the moved images' own mean and variance.

    With `every=n` a model in training mode is measured on every n-th image of the batch, from a random one of the
    first n on, in a forward pass of their own. In expectation that is the value on all images, whatever the batch
    and its order, but for layers that mix the images of a batch. The draw is from torch's global generator.

    Args:
        of: "loss" for the cross-entropy; "scores" for z_y - max_{k != y} z_k, the margin.
        norm: "l1" or "l2".
        squared: penalise the square, which is smooth at zero, instead of the norm.
        step: how far inputs move, in the norm that `norm` is the dual of: with "l1" every number by h, with "l2" the
            whole input by a distance of h. None for the exact gradient.
        every: 1 for all images.

    Raises:
        SettingError: `of` or `norm` is something else, `step` is no positive number, or `every` is below 1.
    """

    of: Differentiated = "scores"
    norm: Literal["l1", "l2"] = "l2"
    squared: bool = True
    step: float | None = None
    every: int = 1

    name = "input-gradient"
    differentiates_inputs = True

    def __post_init__(self) -> None:
        if self.of not in ("loss", "scores"):
            raise SettingError(f"Expected `of` to be 'loss' or 'scores', but got {self.of!r}.")
        if self.norm not in ORDERS:
            raise SettingError(f"Expected `norm` to be 'l1' or 'l2', but got {self.norm!r}.")
        if self.step is not None and not (math.isfinite(self.step) and self.step > 0):
            raise SettingError(
                f"Expected `step` to be a positive finite number, or None for the exact gradient, but got {self.step}."
            )
        at_least_one(every=self.every)

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean (squared) norm over the batch."""
        chosen, share = every_nth_image(forward, self.every)
        return share * (self._exact(chosen) if self.step is None else self._measured(chosen, self.step)).mean()

    def _exact(self, forward: ForwardPass) -> Float[Tensor, " images"]:
        gradient = forward.input_gradient(self.of).flatten(1)
        if self.squared and self.norm == "l2":
            return gradient.square().sum(1)
        norms = torch.linalg.vector_norm(gradient, ORDERS[self.norm], dim=1)
        return norms.square() if self.squared else norms

    def _measured(self, forward: ForwardPass, step: float) -> Float[Tensor, " images"]:
        direction = STEEPEST[self.norm](forward.input_gradient(self.of, differentiable=False))
        rises = moved(forward, step * direction).values(self.of) - forward.values(self.of)
        slopes = torch.where(direction.flatten(1).any(1), rises / step, 0)
        return slopes.square() if self.squared else slopes
