"""Guided complement entropy: the right class up, and all wrong ones alike."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.errors import SettingError
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class GuidedComplementEntropy(Term):
    """The mean of -p_y^alpha H(q) / log(K - 1), in place of cross-entropy (Chen et al. 2019, 1903.09799).

    p is the softmax of the K logits, q_k = p_k / (1 - p_y) that of the wrong ones, and H its Shannon entropy: where p_y
    is small, p_y^alpha keeps the wrong classes from being evened out before the right one is found. In [-1, 0]. The
    authors' code divides by log K instead. Computed in the log domain, so that no constant has to keep a logarithm from
    zero (ours).

    Attacks have a loss of their own in its place: it goes flat where the network is sure.

    Args:
        alpha: of the guiding factor; 1/3 is the default of the authors' code.

    Raises:
        SettingError: an alpha that is no positive number; at the first batch, fewer than three classes, where there is
            only one wrong class and the loss is always 0.
    """

    alpha: float = 1 / 3

    name = "guided-complement-entropy"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise SettingError(f"Expected `alpha` to be a positive finite number, but got {self.alpha}.")

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean guided complement entropy."""
        classes = forward.logits.shape[1]
        if classes < 3:
            raise SettingError(
                f"Guided complement entropy evens out the wrong classes and wants two of them, but {classes} classes "
                "have one; use CrossEntropy()."
            )
        labels = forward.labels[:, None]
        right = forward.logits.log_softmax(1).gather(1, labels)[:, 0]
        wrong = torch.arange(classes - 1, device=labels.device)
        complement = forward.logits.gather(1, wrong + (wrong >= labels)).log_softmax(1)
        entropy = -(complement.exp() * complement).sum(1)
        return -((self.alpha * right).exp() * entropy).mean() / math.log(classes - 1)
