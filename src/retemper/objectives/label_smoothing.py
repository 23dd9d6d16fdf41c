"""Label smoothing: cross-entropy with targets that are never quite sure."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from retemper.errors import SettingError
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass


@dataclass(frozen=True)
class LabelSmoothing(Term):
    """The mean of -sum_k t_k log softmax(z)_k with t = (1 - share) onehot(y) + share / K, in place of cross-entropy.

    From Szegedy et al. 2016 (1512.00567); torch calls it `label_smoothing`. Against attacks Shafahi et al. 2019
    (1910.11585) use it together with `LogitSqueezing` and Gaussian noise on the training images, which is augmentation
    and no part of this term.

    Args:
        share: of the target that all K classes divide among them, in [0, 1).

    Raises:
        SettingError: the share is out of range.
    """

    share: float

    name = "label-smoothing"

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise SettingError(f"Expected `share` to be in [0, 1), but got {self.share}.")

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean cross-entropy with the smoothed targets."""
        return F.cross_entropy(forward.logits, forward.labels, label_smoothing=self.share)
