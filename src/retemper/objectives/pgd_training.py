"""Adversarial training: the objective on inputs that an attack has moved first."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import ascend, check_batch, surroundings
from retemper.attacks.losses import cross_entropy
from retemper.checks import at_least_one
from retemper.data import Split
from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.objectives.base import Loss, Objective
from retemper.objectives.cross_entropy import CrossEntropy
from retemper.threats import Threat


class PGDTraining(Objective):
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
        SettingError: steps below 1, a step size that is no positive number, or a warm-up outside [0, 1];
            at the first batch, inputs outside the threat's bounds.
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
        at_least_one(steps=steps)
        if not 0 <= warmup <= 1:
            raise SettingError(f"Expected `warmup` to be a share in [0, 1], but got {warmup}.")
        self.threat, self.objective = threat, objective or CrossEntropy()
        self.steps, self.warmup, self.seed = steps, warmup, seed
        self.step_size = step_size if step_size is not None else threat.radius * min(1.0, 2.5 / steps)
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise SettingError(f"Expected `step_size` to be a positive finite number, but got {step_size}.")
        self._own: torch.Generator | None = None
        self._checked = False

    def compute(
        self,
        model: nn.Module,
        inputs: Float[Tensor, "images *shape"],
        labels: Int[Tensor, " images"],
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Loss:
        """The inner objective at the moved inputs, with its parts."""
        if not self._checked:
            # The first batch tells whether inputs are normalised; an accelerator would have to be waited for at each.
            check_batch(inputs, labels, self.threat)
            self._checked = True
        noise = Noise.drawn(len(inputs), generator or self._own_generator(inputs.device))
        moved = self._move(model, inputs, labels, progress, noise)
        return self.objective.compute(model, moved, labels, progress=progress, generator=generator)

    def _own_generator(self, device: torch.device) -> torch.Generator:
        if self._own is None or self._own.device != device:
            self._own = torch.Generator(device).manual_seed(self.seed)
        return self._own

    def _move(self, model: nn.Module, inputs: Tensor, labels: Tensor, progress: float, noise: Noise) -> Tensor:
        share = 1.0 if progress >= self.warmup else progress / self.warmup
        if share == 0:
            return inputs
        threat = self.threat.with_radius(self.threat.radius * share)
        with surroundings(model):
            points = threat.random_start(inputs, noise)
            for _ in range(self.steps):
                rise = ascend(model, points, labels, cross_entropy)
                points = threat.project(points + share * self.step_size * threat.steepest(rise.gradient), inputs)
        return points.detach()

    def settle(self, model: nn.Module, train: Split) -> None:
        """Let the inner objective set what it leaves open, on the original inputs."""
        self.objective.settle(model, train)

    def __repr__(self) -> str:
        return (
            f"PGDTraining({self.threat}, {self.objective!r}, steps={self.steps}, "
            f"step_size={self.step_size:.6g}, warmup={self.warmup:g})"
        )
