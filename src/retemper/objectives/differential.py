"""Differential training: the logistic loss on differences between points of different classes."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from retemper.data import Split
from retemper.objectives.base import Term
from retemper.objectives.biases import fit_biases
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class Differential(Term):
    """The mean over pairs (i, j) of different classes a and b of log(1 + exp(-(s_ab(x_i) - s_ab(x_j)))).

    With s_ab = z_a - z_b. For two classes this is Nar et al. 2019 (1901.08360) but for their sum, where we
    take the mean over the pairs, so that the loss does not grow with the batch. For more classes the source
    has nothing: every pair of classes with its own score is ours. Biases of the last layer cancel and are
    set after training (`settle`). A batch of one class alone has no pairs: its loss is 0.
    """

    name = "differential"

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean over all ordered pairs of different classes; each pair counts the same from both sides."""
        logits, labels = forward.logits, forward.labels
        own = logits.gather(1, labels[:, None])  # z_a(x_i)
        crossed = logits[:, labels]  # z_b(x_i) for the class b of each j
        differences = own + own.T - crossed - crossed.T
        different = (labels[:, None] != labels[None, :]).to(logits.dtype)
        return (F.softplus(-differences) * different).sum() / different.sum().clamp_min(1)

    def settle(self, model: nn.Module, train: Split) -> None:
        """Set the biases of the last layer on the training data."""
        fit_biases(model, train)
