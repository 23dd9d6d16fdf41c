"""The recipe: robustness within a threat, trained for without attacking."""

import math

from retemper.errors import SettingError
from retemper.objectives.base import WeightedSum
from retemper.objectives.cross_entropy import CrossEntropy
from retemper.objectives.input_gradient import InputGradient
from retemper.objectives.warm_up import WarmUp
from retemper.threats import Threat

# The choices are ours. The share of the radius that an input moves for a slope to be measured, and the share of the
# training over which the term comes in.
STEP = 0.25
WARM_UP = 0.5


def recipe(threat: Threat, weight: float = 1.0) -> WeightedSum:
    """Cross-entropy plus what the worst input of the threat adds to it, to first order: radius times slope.

    Within a ball of radius r the loss rises, to first order, by r times the dual norm of its input gradient: the "l1"
    norm for Linf, the "l2" norm for L2 (Simon-Gabriel et al. 2019, 1802.01421; 2409.20139 trains with this penalty,
    and with smooth activations). So a weight of 1 asks for the very thing that is wanted, and is not tuned: the
    gradient is the network's own, on the data, and the radius is the threat's. A smaller weight buys clean accuracy
    with robustness.

    It is attack-free: inputs move by no more than `STEP` of the radius, to measure a slope by a finite difference
    (`InputGradient`), and none that has moved joins the training images. Smooth activations are meant to go with it, by
    `create(..., activation="silu")` or `retemper.models.smooth`: 2409.20139 needs them on ImageNet, on MNIST they made
    no difference (docs/recipe.md).

    Args:
        threat: what to be robust within; its bounds play no part.
        weight: times the radius.

    Raises:
        SettingError: the weight is no finite number above 0.
    """
    if not (math.isfinite(weight) and weight > 0):
        raise SettingError(
            f"Expected the weight of the recipe to be a finite number above 0, but got {weight}; plain training is "
            "CrossEntropy()."
        )
    slope = InputGradient("loss", threat.dual, squared=False, step=STEP * threat.radius)
    return CrossEntropy() + weight * threat.radius * WarmUp(slope, over=WARM_UP)
