"""Where a linearised model changes its answer: hyperplanes between the label and its rivals."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import check_classes, wrong
from retemper.models import logits
from retemper.models.differentiation import differentiating
from retemper.threats import Threat, per_image


class Plane(NamedTuple):
    """The hyperplane gap + normal . (x - point) = 0 of each point, and whether the point is adversarial."""

    gap: Float[Tensor, " images"]
    normal: Float[Tensor, "images *shape"]
    fallen: Bool[Tensor, " images"]


def rivals(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    limit: int | None = None,
) -> Int[Tensor, "images rivals"]:
    """The classes other than the label, those with the largest logits first; `limit` cuts off the last."""
    with torch.no_grad():
        outputs = logits(model, inputs)
    check_classes(model, outputs, labels)
    others = outputs.scatter(1, labels[:, None], -torch.inf)
    classes = outputs.shape[1] - 1
    return others.topk(classes if limit is None else min(limit, classes), dim=1).indices


def nearest_plane(
    model: nn.Module,
    points: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    rivals: Int[Tensor, "images rivals"],
    threat: Threat,
) -> Plane:
    """The nearest of the planes z_k - z_y = 0, linearised at the points, in the norm of the threat.

    Takes one forward pass, and one backward pass for each rival. Where there is no plane (zero gradients,
    NaN) the gap and the normal are zero.

    Raises:
        ModelError: the logits cannot be differentiated one after another.
    """
    points = points.detach().requires_grad_()
    outputs = logits(model, points)
    gaps = (outputs.gather(1, rivals) - outputs.gather(1, labels[:, None])).unbind(1)
    gap = torch.zeros_like(gaps[0], requires_grad=False)
    normal = torch.zeros_like(points, requires_grad=False)
    nearest = torch.full_like(gap, torch.inf)
    for number, gap_here in enumerate(gaps, 1):
        with differentiating():
            (gradient,) = torch.autograd.grad(gap_here.sum(), points, retain_graph=number < len(gaps))
        gradient = gradient.nan_to_num()
        rate = dual_norm(gradient, threat)
        distance = torch.where(rate > 0, gap_here.detach().abs() / rate, torch.inf)
        closer = distance < nearest  # which no NaN is
        gap = torch.where(closer, gap_here.detach(), gap)
        normal = torch.where(per_image(closer, normal), gradient, normal)
        nearest = torch.where(closer, distance, nearest)
    return Plane(gap, normal, wrong(outputs.detach(), labels))


def dual_norm(gradient: Float[Tensor, "images *shape"], threat: Threat) -> Float[Tensor, " images"]:
    """How much a function with this gradient rises over a distance of one, in the norm of the threat."""
    return (gradient * threat.steepest(gradient)).flatten(1).sum(1)
