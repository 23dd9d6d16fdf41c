"""The curvature of the loss by the inputs: how much its gradient turns when the input moves."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from retemper.errors import SettingError
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass
from retemper.objectives.second_pass import moved
from retemper.threats import L2

SPHERE = L2(1.0)


@dataclass(frozen=True)
class Curvature(Term):
    """The mean over images of ||grad l(x + h z) - grad l(x)||_2^2, with z = sign(grad l(x)) / ||sign(grad l(x))||_2.

    Curvature regularisation, CURE (Moosavi-Dezfooli et al. 2019, 1811.09716): l is the image's cross-entropy, its
    gradients are by the input, z is held constant, and the difference of gradients is h times the Hessian along z to
    first order. Both gradients are differentiated by the weights. Where grad l(x) is 0, z is 0 (ours).

    Inputs are moved by h, a finite-difference step to measure a derivative: a distance of h in the L2 norm, which for
    an input of D numbers is h / sqrt(D) in each. For a CIFAR-10 image (D = 3,072) 0.43 is 2/255 a number, and 1.5 is
    6.9/255, which is no small step. Moved inputs are not clipped to [0, 1]: that would change z. The second forward
    pass makes the same random draws as the first (dropout) and leaves running statistics alone; batch normalisation in
    training mode takes the moved images' own mean and variance, and mixes the images' gradients. The difference of two
    gradients that are close has few digits left under bf16.

    Args:
        step: h.

    Raises:
        SettingError: `step` is no positive number.
    """

    step: float

    name = "curvature"
    differentiates_inputs = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.step) and self.step > 0):
            raise SettingError(f"Expected `step` to be a positive finite number, but got {self.step}.")

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean squared length of the difference over the batch."""
        here = forward.input_gradient("loss")
        direction = SPHERE.steepest(here.detach().sign())
        there = moved(forward, self.step * direction, differentiable_inputs=True).input_gradient("loss")
        return (there - here).flatten(1).square().sum(1).mean()
