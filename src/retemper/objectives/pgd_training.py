"""Adversarial training: the objective on inputs that an attack has moved first."""

import torch
from torch import Tensor, nn

from retemper.attacks.losses import LossFunction, cross_entropy
from retemper.noise import Noise
from retemper.objectives.adversarial_training import AdversarialTraining
from retemper.objectives.base import Loss, Objective
from retemper.objectives.cross_entropy import CrossEntropy
from retemper.threats import Threat


class PGDTraining(AdversarialTraining):
    """An objective on the last point of projected gradient ascent (Madry et al. 2018, 1706.06083).

    The ascent climbs the cross-entropy from a random start, with the model in evaluation mode, so that
    dropout and batch statistics stay out of it (our choice; practice differs).

    Args:
        threat: what the network is trained against.
        objective: what is minimised at the moved inputs.
        steps: of the ascent.
        step_size: in units of the threat's norm; by default 2.5 times the radius over the steps, at most
            the radius.
        warmup: the share of the training over which radius and step size grow linearly from zero; large
            radii from the first step on can keep a network from learning anything (ours).
        seed: of the random starts where no generator is given.

    Raises:
        SettingError: steps below 1, a step size that is no positive number, a warm-up outside [0, 1], or a seed outside
            [0, 2**32); at the first batch, inputs outside the threat's bounds.
    """

    def __init__(
        self,
        threat: Threat,
        objective: Objective | None = None,
        *,
        steps: int = 10,
        step_size: float | None = None,
        warmup: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(
            threat, objective or CrossEntropy(), steps=steps, step_size=step_size, warmup=warmup, seed=seed
        )

    def _start(self, threat: Threat, inputs: Tensor, noise: Noise) -> Tensor:
        return threat.random_start(inputs, noise)

    def _climbed(self, model: nn.Module, inputs: Tensor) -> LossFunction:
        return cross_entropy

    def _loss(
        self,
        model: nn.Module,
        inputs: Tensor,
        moved: Tensor,
        labels: Tensor,
        progress: float,
        generator: torch.Generator | None,
    ) -> Loss:
        return self.objective.compute(model, moved, labels, progress=progress, generator=generator)

    def __repr__(self) -> str:
        return (
            f"PGDTraining({self.threat.in_full}, {self.objective!r}, steps={self.steps}, "
            f"step_size={self.step_size!r}, warmup={self.warmup!r})"
        )
