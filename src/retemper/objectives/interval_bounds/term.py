"""The loss at the worst logits that a ball of inputs could have."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from retemper.checks import in_0_to_1
from retemper.objectives.base import Term
from retemper.objectives.forward import ForwardPass
from retemper.objectives.interval_bounds.boxes import Box
from retemper.objectives.interval_bounds.margins import worst_margins
from retemper.objectives.warm_up import risen
from retemper.threats import Linf


@dataclass(frozen=True)
class IntervalBounds(Term):
    """kappa * CE(z) + (1 - kappa) * CE(worst z), in place of cross-entropy (Gowal et al. 2018, 1810.12715).

    The worst logits bound those of any input whose coordinates differ by at most `radius` and lie within the bounds: a
    box is passed through the layers (W c + b +- |W| r for a box of centre c and reach r; both ends for what only
    rises), and z_k - z_y is bounded at the last linear layer. No input is moved. Over the first part of the training,
    radius and the worst logits' share grow from zero in a straight line, as in the source, which trains plainly for a
    while before; how long is ours.

    For nn.Sequential of linear and convolutional layers, pooling and activations. `SiLU` and `GELU`, which fall before
    they rise, are bounded at their lowest point (ours). Two tensors more go through every layer, never in half
    precision. The bounds are made for training: roundings are not counted, so they certify nothing.

    Args:
        radius: in Linf.
        kappa: the share of the cross-entropy of the original inputs in the end, in [0, 1]; 1/2 in the authors' code.
        warmup: the share of the training over which radius and worst case come in.
        bounds: of the inputs.

    Raises:
        SettingError: a radius that is no positive number, a share outside [0, 1], or bounds that are not in order; at
            the first batch, on a CPU, inputs outside the bounds.
        ModelError: at the first batch, a model that is no nn.Sequential, or a layer that cannot be bounded, by name.
    """

    radius: float
    kappa: float = 0.5
    warmup: float = 0.3
    bounds: tuple[float, float] = (0.0, 1.0)

    name = "interval-bounds"

    def __post_init__(self) -> None:
        # As JSON gives them back, bounds are a list.
        object.__setattr__(self, "bounds", tuple(self.bounds))
        Linf(self.radius, self.bounds)  # checks both
        in_0_to_1(kappa=self.kappa, warmup=self.warmup)

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """Both cross-entropies, mixed as far as the training is."""
        if forward.inputs.device.type == "cpu":  # an accelerator would have to be waited for at each batch
            Linf(self.radius, self.bounds).check_inputs(forward.inputs)
        progress = risen(forward.progress, self.warmup)
        share, radius = progress * (1 - self.kappa), progress * self.radius
        with torch.autocast(forward.inputs.device.type, enabled=False):
            box = Box(*((forward.inputs + end).clamp(*self.bounds) for end in (-radius, radius)))
            worst = F.cross_entropy(worst_margins(forward.model, box, forward.labels), forward.labels)
        return (1 - share) * forward.losses.mean() + share * worst
