"""Fast minimum-norm: ascent in a ball that shrinks and grows around the boundary (Pintor et al. 2021, 2102.12827)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import Ascent, ascend, check_batch, look, surroundings
from retemper.attacks.losses import margin, named
from retemper.attacks.nearest import Nearest, bisect
from retemper.attacks.planes import dual_norm
from retemper.checks import at_least_one
from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.threats import L2, Linf, Threat, per_image

# The authors' defaults: gamma, by which share the ball changes, and what is left of the step size at the end.
FIRST_CHANGE, LAST_CHANGE = 0.05, 0.001
LAST_STEP = 0.01


def fmn(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    steps: int = 100,
    starts: Float[Tensor, "images *shape"] | None = None,
    step_size: float | None = None,
    loss: str = "margin",
    within: bool = False,
) -> Float[Tensor, "images *shape"]:
    """Climb the loss in a ball of each image's own, which shrinks after each success and grows after each failure.

    Returns for every image the closest adversarial input found, at whatever distance, else the input itself.

    Args:
        model: any module; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: norm and bounds; its radius is no limit, and matters with `within` alone.
        noise: taken as by every attack; nothing is drawn.
        steps: each of one forward and one backward pass.
        starts: where the search begins, such as what an earlier attack reached; adversarial ones are first
            brought closer by bisection. None begins at the inputs.
        step_size: the length of the first step in the L2 norm, whatever the threat's; by default the width
            of the bounds, which is the authors' 1 on [0, 1].
        loss: "margin" as in the paper, "ce" (log-odds) or "dlr".
        within: an image leaves with its first adversarial input inside the threat.

    Raises:
        SettingError: a number out of range, an unknown loss, inputs outside the bounds, labels that are no classes.
        ModelError: the model does not run on the inputs, or cannot be differentiated by them.
    """
    at_least_one(steps=steps)
    climbed = named(loss)
    low, high = threat.bounds
    length = step_size if step_size is not None else high - low
    if not (math.isfinite(length) and length > 0):
        raise SettingError(
            f"Expected `step_size` to be a positive finite number, but got {length}; without one it is the width of "
            f"the bounds [{low:g}, {high:g}]."
        )
    check_batch(inputs, labels, threat)
    inputs = inputs.detach()
    with surroundings(model):
        nearest = Nearest(inputs, threat, within=within)
        points = inputs
        if starts is not None:
            points = _begin(model, nearest, labels, starts.detach().to(inputs).clamp(low, high))
        places = nearest.standing()
        points, radii = points[places], nearest.distances[places]
        for step in range(steps):
            if len(places) == 0:
                break
            rise = ascend(model, points, labels[places], climbed)
            stay = nearest.record(places, points, rise.fallen)
            change = _annealed(FIRST_CHANGE, LAST_CHANGE, step, steps)
            beyond = threat.distance(points, inputs[places]) + _to_boundary(rise, threat)
            radii = _next_radii(radii, rise.fallen, nearest.distances[places], beyond, change)[stay]
            move = length * _annealed(1, LAST_STEP, step, steps) * L2(1.0).steepest(rise.gradient)
            places, points = places[stay], (points + move)[stay]
            points = _into_balls(points, inputs[places], radii, threat)
        if len(places) > 0:
            nearest.record(places, points, look(model, points, labels[places], climbed)[1])
        return nearest.points


def _begin(model: nn.Module, nearest: Nearest, labels: Tensor, starts: Tensor) -> Tensor:
    """The starts, or where they are adversarial what lies closer to the input on the boundary."""
    places = nearest.standing()
    for points in (nearest.inputs, starts):
        nearest.record(places, points, look(model, points, labels, margin)[1])
    bisect(model, nearest, labels)
    return torch.where(per_image(nearest.distances.isfinite(), starts), nearest.points, starts)


def _to_boundary(rise: Ascent, threat: Threat) -> Tensor:
    """How far off a linear model would change its answer; infinite without a slope."""
    return (rise.loss.abs() / dual_norm(rise.gradient, threat)).nan_to_num(torch.inf)


def _next_radii(radii: Tensor, fallen: Tensor, closest: Tensor, beyond: Tensor, change: float) -> Tensor:
    """Smaller after a success and larger after a failure; before the first success as far as the boundary seems."""
    smaller, grown = (radii * (1 - change)).minimum(closest), radii * (1 + change)
    # In the paper the ball of an image that has never fallen may shrink: clamped to the bounds, points lie deep
    # inside their ball, and its next radius, reckoned from there, can stay too small for ever.
    searching = beyond.maximum(grown.where(grown.isfinite(), 0))
    return torch.where(fallen, smaller, torch.where(closest.isfinite(), grown, searching))


def _annealed(first: float, last: float, step: int, steps: int) -> float:
    """Half a cosine from the first towards the last."""
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2


def _into_balls(points: Tensor, inputs: Tensor, radii: Tensor, threat: Threat) -> Tensor:
    """The points moved into a ball around each input, then into the bounds."""
    move, limit = points - inputs, per_image(radii, points).to(points.dtype)
    if isinstance(threat, Linf):
        move = move.maximum(-limit).minimum(limit)
    else:
        distance = per_image(threat.distance(points, inputs), points)
        move = move * (limit / distance).clamp_max(1).nan_to_num(1).to(points.dtype)
    return (inputs + move).clamp(*threat.bounds)
