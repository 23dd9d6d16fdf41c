"""TRADES: accurate on the inputs as they are, and the same answer all around them."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from retemper.attacks.losses import LossFunction
from retemper.errors import SettingError
from retemper.models import logits
from retemper.noise import Noise
from retemper.objectives.adversarial_training import AdversarialTraining
from retemper.objectives.base import Loss
from retemper.objectives.cross_entropy import CrossEntropy
from retemper.objectives.forward import ForwardPass
from retemper.threats import Threat

START = 0.001  # the standard deviation of the authors' code, for inputs in [0, 1]


class TRADES(AdversarialTraining):
    """The mean over images of CE(f(x), y) + beta * max over x' in the ball of KL(f(x) || f(x')) (Zhang et al. 2019).

    With f the softmax of the logits (1901.08573). The maximum is sought by projected gradient ascent, the model in
    evaluation mode, from x plus normal noise of standard deviation 0.001, since the divergence is flat at x itself.
    Gradients by the weights flow through f(x) and f(x') alike. Step size, evaluation mode and warm-up are ours, the
    same as those of `PGDTraining`.

    The loss takes two forward passes in the model's own mode: in training mode batch normalisation takes the
    statistics of originals and moved inputs apart, its running averages see both, and dropout draws anew for each.

    Args:
        threat: what the network is trained against.
        beta: how much the divergence weighs.
        steps: of the ascent.
        step_size: in units of the threat's norm; by default 2.5 times the radius over the steps, at most
            the radius.
        warmup: the share of the training over which radius and step size grow linearly from zero.
        seed: of the random starts where no generator is given.

    Raises:
        SettingError: a beta or a step size that is no positive number, steps below 1, or a warm-up outside [0, 1];
            at the first batch, inputs outside the threat's bounds.
    """

    def __init__(
        self,
        threat: Threat,
        beta: float = 6.0,
        steps: int = 10,
        *,
        step_size: float | None = None,
        warmup: float = 0.3,
        seed: int = 0,
    ) -> None:
        if not (math.isfinite(beta) and beta > 0):
            raise SettingError(f"Expected `beta` to be a positive finite number, but got {beta}.")
        super().__init__(threat, CrossEntropy(), steps=steps, step_size=step_size, warmup=warmup, seed=seed)
        self.beta = beta

    def _start(self, threat: Threat, inputs: Tensor, noise: Noise) -> Tensor:
        return threat.project(inputs + START * noise.normal(*inputs.shape[1:], dtype=inputs.dtype), inputs)

    def _climbed(self, model: nn.Module, inputs: Tensor) -> LossFunction:
        with torch.no_grad():
            original = logits(model, inputs)
        # Up to PyTorch 2.9 autocast keeps the weights that it cast without a graph, and the loss would train none.
        torch.clear_autocast_cache()
        return lambda moved, _labels: divergence(original, moved)

    def _loss(
        self,
        model: nn.Module,
        inputs: Tensor,
        moved: Tensor,
        labels: Tensor,
        progress: float,
        generator: torch.Generator | None,
    ) -> Loss:
        original = ForwardPass(model, inputs, labels, progress=progress)
        elsewhere = ForwardPass(model, moved, labels, progress=progress)
        parts = {
            "cross-entropy": original.losses.mean(),
            "divergence": self.beta * divergence(original.logits, elsewhere.logits).mean(),
        }
        return Loss(torch.stack(list(parts.values())).sum(), parts)

    def __repr__(self) -> str:
        return (
            f"TRADES({self.threat.in_full}, beta={self.beta!r}, steps={self.steps}, "
            f"step_size={self.step_size!r}, warmup={self.warmup!r})"
        )


def divergence(
    original: Float[Tensor, "images classes"], moved: Float[Tensor, "images classes"]
) -> Float[Tensor, " images"]:
    """KL(softmax(original) || softmax(moved)) of each image."""
    return F.kl_div(_shares(moved), _shares(original), reduction="none", log_target=True).sum(1)


def _shares(outputs: Tensor) -> Tensor:
    # Differences of near numbers need more digits than half precision has.
    return (outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs).log_softmax(1)
