"""Auto-PGD: projected gradient ascent that sets its own step size (Croce & Hein 2020, arXiv 2003.01690)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import Ascent, ascend, at_least_one, check_batch, look, surroundings
from retemper.attacks.found import Found
from retemper.attacks.losses import LossFunction, named
from retemper.threats import Threat, per_image

MOMENTUM = 0.75  # alpha in their algorithm 1
RISING_SHARE = 0.75  # rho: the share of steps that must raise the loss for the step size to stay
# p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06) from p_0 = 0 and p_1 = 0.22 up to 1, in hundredths of all steps.
CHECKPOINTS = (22, 41, 57, 70, 80, 87, 93, 99)


def checkpoints(steps: int) -> set[int]:
    """The steps after which the step size is reconsidered: w_j = ceil(p_j n) of the paper.

    >>> sorted(checkpoints(20))
    [5, 9, 12, 14, 16, 18, 19, 20]
    """
    return {-(-share * steps // 100) for share in CHECKPOINTS}


def apgd(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    generator: torch.Generator | None = None,
    *,
    steps: int = 100,
    restarts: int = 1,
    loss: str = "ce",
) -> Float[Tensor, "images *shape"]:
    """Climb the loss with momentum, halving the step size of an image where progress stalls.

    Returns for every image an adversarial input where one was found, else the point of highest loss.
    Images that have fallen leave the batch at once.

    Args:
        model: any module; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: radius, norm and bounds.
        generator: randomness for the starts, on the inputs' device; None draws from a fixed seed.
        steps: gradient steps of each restart.
        restarts: from new random starts, each on the images that still stand.
        loss: "ce", "margin" or "dlr".

    Raises:
        SettingError: a number below one, an unknown loss, inputs outside the bounds, labels that are no classes.
        ModelError: the model does not run on the inputs, or cannot be differentiated by them.
    """
    at_least_one(steps=steps, restarts=restarts)
    climbed = named(loss)
    check_batch(inputs, labels, threat)
    generator = generator or torch.Generator(inputs.device).manual_seed(0)
    inputs = inputs.detach()
    with surroundings(model):
        found = Found(inputs)
        for _ in range(restarts):
            places = found.standing()
            if len(places) == 0:
                break
            points = threat.random_start(inputs[places], generator)
            _run(model, _Climb(inputs[places], labels[places], places, points, threat), climbed, steps, found)
        return found.points


def _run(model: nn.Module, climb: "_Climb", loss: LossFunction, steps: int, found: Found) -> None:
    """One restart."""
    due = checkpoints(steps)
    for step in range(steps):
        rise = ascend(model, climb.points, climb.labels, loss)
        stay = found.record(climb.places, climb.points, rise.loss, rise.fallen)
        if not stay.any():
            return
        climb.see(rise)
        if not stay.all():
            climb.keep(stay)
        if step in due:
            climb.reconsider(step)
        climb.move(momentum=step > 0)
    found.record(climb.places, climb.points, *look(model, climb.points, climb.labels, loss))


class _Climb:
    """The ascent of each image: where it is, its best point so far, and whether its step size still pays."""

    def __init__(self, inputs: Tensor, labels: Tensor, places: Tensor, points: Tensor, threat: Threat) -> None:
        self.inputs, self.labels, self.places, self.threat = inputs, labels, places, threat
        self.points = self.previous = self.best = points
        self.gradient = self.best_gradient = torch.zeros_like(points)
        self.last_loss = inputs.new_full((len(inputs),), float("inf"))  # the first look is no rise
        self.highest = self.highest_then = -self.last_loss  # then: at the last checkpoint
        self.halved_then = torch.ones_like(labels, dtype=torch.bool)
        self.step_size = torch.full_like(self.highest, 2 * threat.radius)
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

    def keep(self, stay: Bool[Tensor, " images"]) -> None:
        """Drop the other images."""
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
