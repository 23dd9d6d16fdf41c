"""Transfer: gradients of another model, tried on this one (Dong et al. 2018, arXiv 1710.06081)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import ascend, check_batch, look, surroundings
from retemper.attacks.found import Found
from retemper.attacks.losses import LossFunction, named
from retemper.checks import at_least_one
from retemper.errors import GradientError, ModelError
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import Threat, per_image

DECAY = 1.0  # mu in the source: earlier gradients count as much as the last
EVERY = 5  # steps from one trial on the model to the next; the source tries the last point alone


def transfer(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    surrogate: nn.Module,
    steps: int = 50,
    restarts: int = 1,
    loss: str = "margin",
) -> Float[Tensor, "images *shape"]:
    """Climb the surrogate's loss with momentum (MI-FGSM), and ask the model about points on the way.

    The model answers one query at every fifth step and at the last; no gradient of it is taken, so that masked
    ones hide nothing. Returns for every image an adversarial input where one was found, else the point of highest
    loss among those that the model was asked about. Images that have fallen leave the batch at once.

    Args:
        model: what is attacked; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: radius, norm and bounds.
        noise: keyed by image, for the starts of later restarts; None counts the images from 0.
        surrogate: whose gradients are followed: same inputs, same classes; best trained apart from the model.
        steps: gradient steps of each restart, 2.5 radii over the steps long (ours), at most the radius.
        restarts: the first from the inputs themselves, as in the source, the others from random points of the
            ball (ours), each on the images that still stand.
        loss: "ce", "margin" or "dlr".

    Raises:
        SettingError: a number below one, an unknown loss, inputs outside the bounds, labels that are no classes.
        ModelError: the surrogate has other classes than the model, or cannot be differentiated by the inputs; one
            of the two does not run on them.
    """
    at_least_one(steps=steps, restarts=restarts)
    climbed = named(loss)
    check_batch(inputs, labels, threat)
    noise = noise or Noise.for_batch(inputs)
    inputs = inputs.detach()
    length = threat.radius * min(1.0, 2.5 / steps)
    with surroundings(model), surroundings(surrogate):
        _check_classes(model, surrogate, inputs[:1])
        found = Found(inputs)
        for restart in range(restarts):
            places = found.standing()
            if len(places) == 0:
                break
            points = inputs[places]
            if restart > 0:
                points = threat.random_start(points, noise[places].at(restart))
            momentum = torch.zeros_like(points)
            for step in range(1, steps + 1):
                gradient = _gradient(surrogate, points, labels[places], climbed)
                momentum = DECAY * momentum + _of_l1_norm_one(gradient)
                points = threat.project(points + length * threat.steepest(momentum), inputs[places])
                if step % EVERY == 0 or step == steps:
                    stay = found.record(places, points, *look(model, points, labels[places], climbed))
                    places, points, momentum = places[stay], points[stay], momentum[stay]
                    if len(places) == 0:
                        break
        return found.points


def _gradient(surrogate: nn.Module, points: Tensor, labels: Tensor, climbed: LossFunction) -> Tensor:
    try:
        return ascend(surrogate, points, labels, climbed).gradient
    except GradientError as error:  # which an evaluation forgives the model alone: another surrogate can be named
        raise ModelError(f"The surrogate cannot be followed: {error}") from error


def _of_l1_norm_one(gradient: Tensor) -> Tensor:
    size = gradient.flatten(1).abs().sum(1).clamp_min(torch.finfo(gradient.dtype).tiny)
    return gradient / per_image(size, gradient)


def _check_classes(model: nn.Module, surrogate: nn.Module, inputs: Tensor) -> None:
    with torch.no_grad():
        own, others = logits(model, inputs).shape[1], logits(surrogate, inputs).shape[1]
    if own != others:
        raise ModelError(
            f"Expected a surrogate with the {own} classes of the model, but {type(surrogate).__name__} has {others}; "
            "train one on the same data."
        )
