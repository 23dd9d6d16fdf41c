"""Cross-entropy: plain training."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class CrossEntropy(Term):
    """The mean of -log softmax(z)_y over the batch."""

    name = "cross-entropy"

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean cross-entropy."""
        return forward.losses.mean()
