"""Fast adversarial training: the objective on inputs that a single step from a random start has moved."""

from retemper.objectives.base import Objective
from retemper.objectives.pgd_training import PGDTraining
from retemper.threats import Threat


class FGSMTraining(PGDTraining):
    """An objective one step of 1.25 times the radius away from a random point of the ball (Wong et al. 2020).

    x' = project(u + 1.25 r sign grad CE(u)), u uniform in the ball around x: FGSM with random start (2001.03994), for
    one ascent step of `PGDTraining`. The source has Linf alone: in L2 the gradient, normalised, takes the place of its
    sign (ours). So are the model's evaluation mode during the step, and the warm-up.

    A network trained so can learn to answer this one step right and no other ("catastrophic overfitting"): watch it
    with an iterated attack on validation images.

    Args:
        threat: what the network is trained against.
        objective: what is minimised at the moved inputs.
        warmup: the share of the training over which radius and step size grow linearly from zero.
        seed: of the random starts where no generator is given.

    Raises:
        SettingError: a warm-up outside [0, 1]; at the first batch, inputs outside the threat's bounds.
    """

    def __init__(
        self, threat: Threat, objective: Objective | None = None, *, warmup: float = 0.3, seed: int = 0
    ) -> None:
        super().__init__(threat, objective, steps=1, step_size=1.25 * threat.radius, warmup=warmup, seed=seed)

    def __repr__(self) -> str:
        return f"FGSMTraining({self.threat.in_full}, {self.objective!r}, warmup={self.warmup!r})"
