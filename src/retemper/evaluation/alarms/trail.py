"""The plainest attack, watched: iterated gradient ascent from the input itself."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from retemper.attacks.ascent import ascend, look
from retemper.attacks.found import Found
from retemper.attacks.losses import LossFunction, cross_entropy
from retemper.evaluation.alarms.subject import Subject


class Trail(NamedTuple):
    """Where the ascent led.

    Attributes:
        points: adversarial where one was found, else those of highest loss.
        fallen: judged on the model.
        rise: from the loss at the input to the highest on the way.
    """

    points: Float[Tensor, "images *shape"]
    fallen: Bool[Tensor, " images"]
    rise: Float[Tensor, " images"]


def follow(subject: Subject, steps: int, loss: LossFunction = cross_entropy) -> Trail:
    """Projected gradient ascent as `attacks.pgd` does it, without a random start, on any loss, along the guide.

    Steps are 2.5 radii over their number long, at most one radius. Images that have fallen leave at once, but
    for randomised models: there one wrong answer is no proof, and the ascent goes on.
    """
    threat, points = subject.threat, subject.inputs
    length = threat.radius * min(1.0, 2.5 / steps)
    found = Found(points)
    places = torch.arange(len(subject), device=points.device)
    first = None
    for _ in range(steps):
        rise = ascend(subject.guide, points, subject.labels[places], loss)
        first = rise.loss if first is None else first
        stay = found.record(places, points, rise.loss, rise.fallen & (not subject.random))
        places, points, gradient = places[stay], points[stay], rise.gradient[stay]
        if len(places) == 0:
            break
        points = threat.project(points + length * threat.steepest(gradient), subject.inputs[places])
    else:
        values, fallen = look(subject.guide, points, subject.labels[places], loss)
        found.record(places, points, values, fallen & (not subject.random))
    assert first is not None, "there is at least one step"
    return Trail(found.points, subject.wrong(found.points), found.losses - first)
