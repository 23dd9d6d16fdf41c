"""FAB: along the boundary, drawn towards the input (Croce & Hein 2020, arXiv 1907.02044)."""

from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import ascend, check_batch, look, surroundings
from retemper.attacks.losses import margin
from retemper.attacks.nearest import Nearest, bisect
from retemper.attacks.planes import Plane, nearest_plane, rivals
from retemper.attacks.projection import way_onto_plane
from retemper.checks import at_least_one
from retemper.noise import Noise
from retemper.threats import Threat, per_image

# The authors' defaults.
OVERSHOOT = 1.05  # eta: how far along the way to the plane
LARGEST_BIAS = 0.1  # alpha_max: the share of the input's own way in a step
STEP_BACK = 0.9  # beta: what is left of the distance after a success


def fab(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    steps: int = 100,
    restarts: int = 1,
    targets: int | None = None,
    within: bool = False,
) -> Float[Tensor, "images *shape"]:
    """Step onto the nearest boundary of the model's linearisation, between where the image is and its input.

    Returns for every image the closest adversarial input found, at whatever distance, else the input itself.
    A final search, ten steps of bisection (the authors take three of the secant method), brings it onto the
    boundary.

    Args:
        model: any module; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: norm and bounds; its radius is no limit, but sets how far off restarts begin.
        noise: keyed by image, for the restarts; None counts the images from 0.
        steps: each of two forward passes and a backward pass for each class that is looked at.
        restarts: the first begins at the input, the others at random points within half the radius or half
            the distance reached, whichever is smaller.
        targets: look at one class at a time, at each of this many with the largest logits in turn; None
            looks at all classes in every step, which takes as many backward passes.
        within: an image leaves with its first adversarial input inside the threat.

    Raises:
        SettingError: a number below one, inputs outside the bounds, labels that are no classes.
        ModelError: the model does not run on the inputs, or cannot be differentiated by them.
    """
    at_least_one(steps=steps, restarts=restarts, targets=1 if targets is None else targets)
    check_batch(inputs, labels, threat)
    noise = noise or Noise.for_batch(inputs)
    inputs = inputs.detach()
    with surroundings(model):
        nearest = Nearest(inputs, threat, within=within)
        places = nearest.standing()
        nearest.record(places, inputs, ascend(model, inputs[places], labels[places], margin).fallen)
        others = rivals(model, inputs, labels, targets)
        groups = (others,) if targets is None else others.split(1, dim=1)
        for run, (group, restart) in enumerate(product(groups, range(restarts))):
            places = nearest.standing()
            if len(places) == 0:
                break
            points = inputs[places] if restart == 0 else _random_start(nearest, places, noise[places].at(run))
            _run(model, nearest, places, points, labels, group, steps)
        bisect(model, nearest, labels)
        return nearest.points


def _random_start(nearest: Nearest, places: Tensor, noise: Noise) -> Tensor:
    inputs, threat = nearest.inputs[places], nearest.threat
    share = nearest.distances[places].clamp_max(threat.radius) / (2 * threat.radius)
    start = threat.random_start(inputs, noise)
    return (inputs + per_image(share.to(inputs.dtype), inputs) * (start - inputs)).clamp(*threat.bounds)


def _run(
    model: nn.Module, nearest: Nearest, places: Tensor, points: Tensor, labels: Tensor, rivals: Tensor, steps: int
) -> None:
    """One restart, towards the nearest of the rivals."""
    for _ in range(steps):
        if len(places) == 0:
            return
        plane = nearest_plane(model, points, labels[places], rivals[places], nearest.threat)
        # A step back may be adversarial still: this comes with the pass, and the authors' code leaves it out.
        nearest.record(places, points, plane.fallen)
        points = _biased_step(points, nearest.inputs[places], plane, nearest.threat)
        _, fallen = look(model, points, labels[places], margin)
        stay = nearest.record(places, points, fallen)
        inputs = nearest.inputs[places]
        points = torch.where(per_image(fallen, points), inputs + STEP_BACK * (points - inputs), points)
        places, points = places[stay], points[stay]


def _biased_step(points: Tensor, inputs: Tensor, plane: Plane, threat: Threat) -> Tensor:
    """A mean of the ways onto the plane from the point and from the input, both a little beyond it."""
    from_point = way_onto_plane(points, plane.normal, -plane.gap, threat)
    moved = ((points.double() - inputs.double()) * plane.normal).flatten(1).sum(1)
    from_input = way_onto_plane(inputs, plane.normal, moved - plane.gap, threat)
    nothing = torch.zeros_like(from_point)
    here, there = threat.distance(from_point, nothing), threat.distance(from_input, nothing)
    bias = per_image((here / (here + there)).nan_to_num(0).clamp_max(LARGEST_BIAS), points)
    stepped = (1 - bias) * (points + OVERSHOOT * from_point) + bias * (inputs + OVERSHOOT * from_input)
    return stepped.to(points.dtype).clamp(*threat.bounds)
