"""Logit squeezing: no large logits."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class LogitSqueezing(Term):
    """The mean over images of the squared L2 norm of the logits, ||z||_2^2 (Kannan et al. 2018, 1803.06373).

    The square is our reading. Small logits also have small gradients: read robust accuracy under it with the alarms,
    and with an attack that is blind to scale. A model's single output counts alone.
    """

    name = "logit-squeezing"

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean squared norm over the batch."""
        return forward.logits.square().sum(1).mean()
