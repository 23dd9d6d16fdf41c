"""Auto-PGD: projected gradient ascent that sets its own step size (Croce & Hein 2020, arXiv 2003.01690)."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import Extra, ascend, check_batch, look, surroundings
from retemper.attacks.climb import Climb, checkpoints
from retemper.attacks.found import Found
from retemper.attacks.losses import LossFunction, named
from retemper.checks import at_least_one
from retemper.noise import Noise
from retemper.threats import Threat


def apgd(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    steps: int = 100,
    restarts: int = 1,
    loss: str = "ce",
    starts: Float[Tensor, "images *shape"] | None = None,
    step_size: float = 2.0,
    extra: Extra | None = None,
) -> Float[Tensor, "images *shape"]:
    """Climb the loss with momentum, halving the step size of an image where progress stalls.

    Returns for every image an adversarial input where one was found, else the point of highest loss.
    Images that have fallen leave the batch at once.

    Args:
        model: any module; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: radius, norm and bounds.
        noise: keyed by image, for the starts; None counts the images from 0.
        steps: gradient steps of each restart.
        restarts: from new random starts, each on the images that still stand.
        loss: "ce", "margin" or "dlr".
        starts: where the first restart begins, such as what an earlier attack reached; None draws it.
        step_size: the first, in radii.
        extra: joins the gradient that is followed; progress is measured by the loss alone.

    Raises:
        SettingError: a number below one, an unknown loss, inputs outside the bounds, labels that are no classes.
        ModelError: the model does not run on the inputs, or cannot be differentiated by them.
    """
    at_least_one(steps=steps, restarts=restarts)
    climbed = named(loss)
    check_batch(inputs, labels, threat)
    noise = noise or Noise.for_batch(inputs)
    inputs = inputs.detach()
    with surroundings(model):
        found = Found(inputs)
        for restart in range(restarts):
            places = found.standing()
            if len(places) == 0:
                break
            if restart == 0 and starts is not None:
                points = threat.project(starts.detach(), inputs)
            else:
                points = threat.random_start(inputs[places], noise[places].at(restart))
            climb = Climb(inputs[places], labels[places], places, points, threat, step_size)
            _run(model, climb, climbed, steps, found, extra)
        return found.points


def _run(model: nn.Module, climb: Climb, loss: LossFunction, steps: int, found: Found, extra: Extra | None) -> None:
    """One restart."""
    due = checkpoints(steps)
    for step in range(steps):
        rise = ascend(model, climb.points, climb.labels, loss, extra)
        stay = found.record(climb.places, climb.points, rise.loss, rise.fallen)
        rows = stay.nonzero()[:, 0]
        if len(rows) == 0:
            return
        climb.see(rise)
        if len(rows) < len(stay):
            climb.keep(rows)
        if step in due:
            climb.reconsider(step)
        climb.move(momentum=step > 0)
    found.record(climb.places, climb.points, *look(model, climb.points, climb.labels, loss))
