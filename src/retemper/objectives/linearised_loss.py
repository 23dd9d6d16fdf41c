"""The loss of the worst input of a threat, the network taken to be straight up to there."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.checks import in_0_to_1
from retemper.data import Split
from retemper.errors import SettingError
from retemper.objectives.base import Term
from retemper.objectives.cross_entropy import CrossEntropy
from retemper.objectives.differential import Differential
from retemper.objectives.forward import ForwardPass
from retemper.objectives.input_gradient import STEEPEST
from retemper.objectives.second_pass import moved
from retemper.objectives.warm_up import risen

LOSSES: dict[str, Term] = {loss.name: loss for loss in (CrossEntropy(), Differential())}


@dataclass(frozen=True)
class LinearisedLoss(Term):
    """The loss at the logits z(x) + r (z(x + h d) - z(x)) / h: those at x + r d, were the network straight up to there.

    Ours. d is the direction, one long in the threat's norm, in which the image's cross-entropy rises fastest: the sign
    of its input gradient for "l1", the gradient over its length for "l2"; it is held constant. Where the gradient is 0
    it is the loss at x.

    The network is taken to be straight, the loss is not. As cross-entropy is convex in the logits, this is never less,
    for r of at least h, than cross-entropy plus r times `InputGradient("loss", norm, squared=False, step=h)`.
    That slope is next to nothing for an image that is classified well, however near it is to being misclassified; here
    such an image counts as soon as a straight network would get x + r d wrong. With h = r it would be adversarial
    training in one step (FGSM without its random start); the less h is, the less of what the network does beyond the
    image itself is seen.

    Inputs are moved by h and no further, to measure a derivative, and may leave [0, 1] by it. The second forward pass
    makes the same random draws as the first (dropout) and leaves running statistics alone; batch normalisation in
    training mode takes the moved images' own mean and variance. What low precision rounds off the difference of the
    logits counts r / h times.

    Args:
        norm: the dual of the threat's (`threat.dual`): "l1" for Linf, "l2" for L2.
        radius: r, in the threat's norm.
        step: h, in the threat's norm.
        warmup: the share of the training's steps over which r rises from 0 in a straight line; 0 for all of r at once,
            as it is outside of `retrain`, where nobody says how far the training is.
        loss: "cross-entropy", or "differential" for `Differential` at those logits.

    Raises:
        SettingError: `norm` or `loss` is something else, `radius` or `step` is no positive finite number, or `warmup`
            is outside [0, 1].
    """

    norm: Literal["l1", "l2"]
    radius: float
    step: float
    warmup: float = 0.0
    loss: Literal["cross-entropy", "differential"] = "cross-entropy"

    name = "linearised-loss"
    differentiates_inputs = True

    def __post_init__(self) -> None:
        if self.norm not in STEEPEST:
            raise SettingError(f"Expected `norm` to be 'l1' or 'l2', but got {self.norm!r}.")
        if self.loss not in LOSSES:
            raise SettingError(f"Expected `loss` to be one of {', '.join(LOSSES)}, but got {self.loss!r}.")
        for name, value in (("radius", self.radius), ("step", self.step)):
            if not (math.isfinite(value) and value > 0):
                raise SettingError(f"Expected `{name}` to be a positive finite number, but got {value}.")
        in_0_to_1(warmup=self.warmup)

    @property
    def spans_processes(self) -> bool:
        """Whether the loss does."""
        return LOSSES[self.loss].spans_processes

    @property
    def warmed(self) -> Term:
        """The term with all of its radius."""
        return replace(self, warmup=0.0)

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        """The mean over the batch."""
        share = risen(forward.progress, self.warmup)
        direction = STEEPEST[self.norm](forward.input_gradient("loss", differentiable=False))
        change = moved(forward, self.step * direction).logits - forward.logits
        ahead = forward.with_logits(torch.add(forward.logits, change, alpha=share * self.radius / self.step))
        return LOSSES[self.loss].value(ahead)

    def check(self, model: nn.Module, train: Split) -> None:
        """Let the loss look at the model."""
        LOSSES[self.loss].check(model, train)

    def settle(self, model: nn.Module, train: Split) -> None:
        """Let the loss set what it leaves open."""
        LOSSES[self.loss].settle(model, train)
