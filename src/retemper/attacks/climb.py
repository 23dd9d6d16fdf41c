"""The climb of Auto-PGD: where each image is, its best point, and whether its step size still pays."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.attacks.ascent import Ascent
from retemper.threats import Threat, per_image

MOMENTUM = 0.75  # alpha in algorithm 1 of Croce & Hein 2020 (arXiv 2003.01690)
RISING_SHARE = 0.75  # rho: the share of steps that must raise the loss for the step size to stay
# p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06) from p_0 = 0 and p_1 = 0.22 up to 1, in hundredths of all steps.
CHECKPOINTS = (22, 41, 57, 70, 80, 87, 93, 99)


def checkpoints(steps: int) -> set[int]:
    """The steps after which the step size is reconsidered: w_j = ceil(p_j n) of the paper.

    >>> sorted(checkpoints(20))
    [5, 9, 12, 14, 16, 18, 19, 20]
    """
    return {-(-share * steps // 100) for share in CHECKPOINTS}


class Climb:
    """The ascent of each row: an image, or an image on its way to one target.

    Args:
        inputs: the originals.
        labels: one a row.
        places: which image each row belongs to.
        points: where the climb begins.
        threat: what the points are projected onto.
        step_size: the first, in units of the radius.
        targets: the class that each row is on its way to, if it has one.
    """

    def __init__(
        self,
        inputs: Float[Tensor, "rows *shape"],
        labels: Int[Tensor, " rows"],
        places: Int[Tensor, " rows"],
        points: Float[Tensor, "rows *shape"],
        threat: Threat,
        step_size: float = 2.0,
        targets: Int[Tensor, " rows"] | None = None,
    ) -> None:
        self.inputs, self.labels, self.places, self.threat = inputs, labels, places, threat
        self.targets = targets if targets is not None else labels
        self.points = self.previous = self.best = points
        self.gradient = self.best_gradient = torch.zeros_like(points)
        self.last_loss = inputs.new_full((len(inputs),), float("inf"))  # the first look is no rise
        self.highest = self.highest_then = -self.last_loss  # then: at the last checkpoint
        self.halved_then = torch.ones_like(labels, dtype=torch.bool)
        self.step_size = torch.full_like(self.highest, step_size * threat.radius)
        self.rises = torch.zeros_like(self.highest)
        self.last_checkpoint = 0

    def see(self, rise: Ascent) -> None:
        """Take in the loss and the gradient at the points."""
        self.rises = self.rises + (rise.loss > self.last_loss)
        self.gradient, self.last_loss = rise.gradient, rise.loss
        higher = rise.loss > self.highest
        self.highest = torch.where(higher, rise.loss, self.highest)
        self.best = torch.where(per_image(higher, self.points), self.points, self.best)
        self.best_gradient = torch.where(per_image(higher, self.points), rise.gradient, self.best_gradient)

    def keep(self, stay: Int[Tensor, " kept"]) -> None:
        """Drop the other rows."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[stay])

    def reconsider(self, step: int) -> None:
        """Halve the step size where condition 1 or 2 of the paper holds; those images return to their best."""
        few_rises = self.rises < RISING_SHARE * (step - self.last_checkpoint)
        no_gain = ~self.halved_then & (self.highest <= self.highest_then)
        stalled = few_rises | no_gain
        self.step_size = torch.where(stalled, self.step_size / 2, self.step_size)
        self.points = torch.where(per_image(stalled, self.points), self.best, self.points)
        self.gradient = torch.where(per_image(stalled, self.gradient), self.best_gradient, self.gradient)
        self.last_loss = torch.where(stalled, self.highest, self.last_loss)
        self.highest_then, self.halved_then, self.last_checkpoint = self.highest, stalled, step
        self.rises = torch.zeros_like(self.rises)

    def move(self, *, momentum: bool) -> None:
        """One step uphill, which with momentum keeps a quarter of the step before (none on the first step)."""
        step = per_image(self.step_size, self.points) * self.threat.steepest(self.gradient)
        target = self.threat.project(self.points + step, self.inputs)
        moved = target - self.points
        if momentum:
            moved = MOMENTUM * moved + (1 - MOMENTUM) * (self.points - self.previous)
        self.previous, self.points = self.points, self.threat.project(self.points + moved, self.inputs)
