"""What adversarial training shares: inputs moved inside a ball that grows, by an ascent that leaves the model alone."""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import ascend, check_batch, surroundings
from retemper.attacks.losses import LossFunction
from retemper.checks import as_seed, at_least_one, in_0_to_1
from retemper.data import Split
from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.objectives.base import Loss, Objective
from retemper.objectives.warm_up import risen
from retemper.threats import Threat


class AdversarialTraining(Objective):
    """A loss of inputs and of where projected gradient ascent moves them; subclasses say what climbs and what falls.

    The ascent sees the model in evaluation mode, so that dropout and batch statistics stay out of it; the loss sees
    it in its own mode. Arguments and errors are those of `PGDTraining`; of the objective all terms may be asked.
    """

    def __init__(
        self,
        threat: Threat,
        objective: Objective,
        *,
        steps: int,
        step_size: float | None,
        warmup: float,
        seed: int,
    ) -> None:
        at_least_one(steps=steps)
        in_0_to_1(warmup=warmup)
        seed = as_seed(seed)
        self.threat, self.objective = threat, objective
        self.steps, self.warmup, self.seed = steps, warmup, seed
        self.step_size = step_size if step_size is not None else threat.radius * min(1.0, 2.5 / steps)
        if not (math.isfinite(self.step_size) and self.step_size > 0):
            raise SettingError(f"Expected `step_size` to be a positive finite number, but got {step_size}.")
        self._own: torch.Generator | None = None
        self._checked = False

    @property
    def differentiates_inputs(self) -> bool:
        """Whether what is trained on the moved inputs does."""
        return self.objective.differentiates_inputs

    def compute(
        self,
        model: nn.Module,
        inputs: Float[Tensor, "images *shape"],
        labels: Int[Tensor, " images"],
        *,
        progress: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Loss:
        """The loss once the inputs are moved, with its parts."""
        if not self._checked:
            # The first batch tells whether inputs are normalised; an accelerator would have to be waited for at each.
            check_batch(inputs, labels, self.threat)
            self._checked = True
        noise = Noise.drawn(len(inputs), generator or self._own_generator(inputs.device))
        moved = self._move(model, inputs, labels, progress, noise)
        return self._loss(model, inputs, moved, labels, progress, generator)

    def _own_generator(self, device: torch.device) -> torch.Generator:
        if self._own is None or self._own.device != device:
            self._own = torch.Generator(device).manual_seed(self.seed)
        return self._own

    def _move(self, model: nn.Module, inputs: Tensor, labels: Tensor, progress: float, noise: Noise) -> Tensor:
        share = risen(progress, self.warmup)
        if share == 0:
            return inputs
        threat = self.threat.with_radius(self.threat.radius * share)
        with surroundings(model):
            climbed = self._climbed(model, inputs)
            points = self._start(threat, inputs, noise)
            for _ in range(self.steps):
                rise = ascend(model, points, labels, climbed)
                points = threat.project(points + share * self.step_size * threat.steepest(rise.gradient), inputs)
        return points.detach()

    @abstractmethod
    def _start(self, threat: Threat, inputs: Tensor, noise: Noise) -> Tensor:
        """Where the ascent begins."""

    @abstractmethod
    def _climbed(self, model: nn.Module, inputs: Tensor) -> LossFunction:
        """What it climbs, given the inputs that it moves."""

    @abstractmethod
    def _loss(
        self,
        model: nn.Module,
        inputs: Tensor,
        moved: Tensor,
        labels: Tensor,
        progress: float,
        generator: torch.Generator | None,
    ) -> Loss:
        """What is minimised."""

    def check(self, model: nn.Module, train: Split) -> None:
        """Let the inner objective look at the model."""
        self.objective.check(model, train)

    def settle(self, model: nn.Module, train: Split) -> None:
        """Let the inner objective set what it leaves open, on the original inputs."""
        self.objective.settle(model, train)
