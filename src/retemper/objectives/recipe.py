"""The recipe: robustness within a threat, trained for without attacking."""

import math
from collections.abc import Sequence
from typing import overload

from retemper.errors import SettingError
from retemper.objectives.linearised_loss import LinearisedLoss
from retemper.objectives.one_of import OneOf
from retemper.threats import Threat, several

# The choices are ours. The share of the radius that an input moves for a derivative to be measured, and the share of
# the training over which the radius grows from 0.
STEP = 0.25
WARM_UP = 0.3


@overload
def recipe(threat: Threat, weight: float = ...) -> LinearisedLoss: ...
@overload
def recipe(threat: Sequence[Threat], weight: float = ...) -> LinearisedLoss | OneOf: ...
def recipe(threat: Threat | Sequence[Threat], weight: float = 1.0) -> LinearisedLoss | OneOf:
    """The cross-entropy of the threat's worst input, the network taken to be straight from the input to there.

    That is `LinearisedLoss` at the threat's radius: how the logits change along the steepest direction is measured over
    a small step, drawn out to the whole radius, and the loss is taken there. So nothing is to be tuned: the gradient is
    the network's own, on the data, and the radius is the threat's. A smaller weight asks for a smaller radius, and buys
    clean accuracy with robustness. Of several threats each step meets one, drawn at random (`OneOf`): a step costs the
    same.

    It is attack-free: inputs move by no more than `STEP` of the radius that is trained for, to measure a derivative,
    and none that has moved joins the training images. Smooth activations are meant to go with it, by
    `create(..., activation="silu")` or `retemper.models.smooth`: 2409.20139, which penalises the gradient's norm, needs
    them on ImageNet.

    Args:
        threat: what to be robust within, or several; bounds play no part.
        weight: times the radius.

    Raises:
        SettingError: the weight is no finite number above 0, or there is no threat.
    """
    if not (math.isfinite(weight) and weight > 0):
        raise SettingError(
            f"Expected the weight of the recipe to be a finite number above 0, but got {weight}; plain training is "
            "CrossEntropy()."
        )
    losses = [_within(threat, weight * threat.radius) for threat in several(threat)]
    return losses[0] if len(losses) == 1 else OneOf(tuple(losses))


def _within(threat: Threat, radius: float) -> LinearisedLoss:
    return LinearisedLoss(threat.dual, radius, step=STEP * radius, warmup=WARM_UP)
