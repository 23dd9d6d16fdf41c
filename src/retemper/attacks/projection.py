"""The shortest way onto a hyperplane without leaving a box (Croce & Hein 2020, arXiv 1907.02044, section 2.2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from retemper.threats import Threat, per_image


def way_onto_plane(
    points: Float[Tensor, "images *shape"],
    normal: Float[Tensor, "images *shape"],
    rise: Float[Tensor, " images"],
    threat: Threat,
) -> Float[Tensor, "images *shape"]:
    """The smallest move, in the norm of the threat and inside its bounds, along which normal . move = rise.

    The move follows the steepest direction of the norm; a coordinate that meets the bounds stops there and
    the others go on. How far they go is read off a sorted list of these stops, so that the result is exact.
    Where the plane does not meet the box, the move ends in the corner nearest to the plane; where the
    normal is zero, there is none.

    Args:
        points: inside the bounds.
        normal: of each plane.
        rise: what the product has to become, of either sign.
        threat: the norm and the bounds; its radius is no limit.

    Returns:
        The moves, in float64.
    """
    origin = points.double().flatten(1)
    weight = normal.double().flatten(1) * per_image(rise.sign(), points.flatten(1))
    direction = threat.steepest(weight)
    low, high = threat.bounds
    # Infinite bounds become finite ones, far out, since an infinite product less another is no number.
    room = torch.where(direction > 0, high - origin, origin - low).clamp(0, torch.finfo(torch.float32).max)
    speed = direction.abs()
    stops, order = (room / speed).where(speed > 0, 0).sort(1)
    slope = (weight.abs() * speed).gather(1, order)
    # Up to the k-th stop, all coordinates from the k-th on are still moving and those before it stand.
    moving = slope.flip(1).cumsum(1).flip(1)
    stopped = F.pad((slope * stops).cumsum(1)[:, :-1], (1, 0))
    target = rise.double().abs()[:, None]
    passed = (stopped + stops * moving < target).sum(1, keepdim=True)
    last = passed.clamp_max(stops.shape[1] - 1)
    there = (target - stopped.gather(1, last)) / moving.gather(1, last)
    length = there.nan_to_num(0).clamp_min(0).where(passed == last, stops[:, -1:])
    return (direction.sign() * (length * speed).minimum(room)).view_as(points)
