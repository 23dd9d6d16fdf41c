"""Targeted Auto-PGD in which the targets race: all set out, the nearest to success go on (ours).

AutoAttack (Croce & Hein 2020, arXiv 2003.01690) gives each of nine targets a hundred steps. Most of them go to
targets that lost all hope after ten: here only the targets of highest loss get more steps, from where they are.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import ascend, check_batch, surroundings
from retemper.attacks.climb import Climb, checkpoints
from retemper.attacks.losses import TargetedLoss, named_targeted
from retemper.attacks.planes import rivals
from retemper.checks import at_least_one
from retemper.errors import SettingError
from retemper.noise import Noise
from retemper.threats import Threat


class Stage(NamedTuple):
    """How many targets of an image run, for how many gradients, with which first step size (in radii)."""

    targets: int
    steps: int
    step_size: float = 2.0


STAGES = (Stage(9, 10, 1.0), Stage(4, 20, 0.5), Stage(2, 50, 0.5))


def apgd_targeted(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    stages: Sequence[Stage] = STAGES,
    loss: str = "dlr",
    rows: int = 512,
) -> Float[Tensor, "images *shape"]:
    """Climb towards the classes nearest by logit at once, stage by stage towards fewer of them.

    Returns for every image an adversarial input where one was found, whatever the answer there, else the
    point of highest loss. An image that has fallen leaves with all its targets at once.

    Args:
        model: any module; its mode, its flags and the global generator stay as they are.
        inputs: within the threat's bounds, float32 or float64.
        labels: integers in [0, classes).
        threat: radius, norm and bounds.
        noise: keyed by image, for the starts; None counts the images from 0.
        stages: each with no more targets than the one before; with fewer classes there are fewer targets.
        loss: "margin" or "dlr", which takes four classes.
        rows: at most so many pairs of image and target go through the model at once.

    Raises:
        SettingError: no stage, a number below one, targets that grow, an unknown loss, inputs outside the
            bounds, labels that are no classes.
        ModelError: the model does not run on the inputs, or cannot be differentiated by them.
    """
    _check_stages(stages)
    climbed = named_targeted(loss)
    check_batch(inputs, labels, threat)
    noise = noise or Noise.for_batch(inputs)
    inputs = inputs.detach()
    with surroundings(model):
        return torch.cat(
            [
                _race(model, part, labels[places], threat, noise[places], stages, climbed)
                for places, part in _parts(inputs, max(1, rows // stages[0].targets))
            ]
        )


def _parts(inputs: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    places = torch.arange(len(inputs), device=inputs.device)
    return list(zip(places.split(size), inputs.split(size), strict=True))


def _race(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    threat: Threat,
    noise: Noise,
    stages: Sequence[Stage],
    loss: TargetedLoss,
) -> Tensor:
    targets = rivals(model, inputs, labels, stages[0].targets)
    lanes = targets.shape[1]
    reached = inputs.clone()
    places = torch.arange(len(inputs), device=inputs.device).repeat_interleave(lanes)
    points = torch.stack([threat.random_start(inputs, noise.at(lane)) for lane in range(lanes)], dim=1).flatten(0, 1)
    climb = Climb(inputs[places], labels[places], places, points, threat, stages[0].step_size, targets.flatten())
    for number, stage in enumerate(stages):
        if number > 0:
            leading = _leaders(climb, lanes, min(lanes, stage.targets))
            lanes = min(lanes, stage.targets)
            places, points, targets = climb.places[leading], climb.best[leading], climb.targets[leading]
            climb = Climb(inputs[places], labels[places], places, points, threat, stage.step_size, targets)
        _run(model, climb, stage.steps, loss, reached)
        if len(climb.places) == 0:
            return reached
    leading = _leaders(climb, lanes, 1)
    reached[climb.places[leading]] = climb.best[leading]
    return reached


def _run(model: nn.Module, climb: Climb, steps: int, loss: TargetedLoss, reached: Tensor) -> None:
    """One stage; adversarial points go into `reached`, and their images leave the climb with all their rows."""
    due = checkpoints(steps)
    for step in range(steps):
        if step > 0:
            if step - 1 in due:
                climb.reconsider(step - 1)
            climb.move(momentum=step > 1)
        rise = ascend(model, climb.points, climb.labels, partial(_towards, climb.targets, loss))
        climb.see(rise)
        rows = rise.fallen.nonzero()[:, 0]
        if len(rows):
            images = climb.places[rows]
            # An image's first fallen row, by a rule: writing to one place several times follows none.
            fallen = torch.zeros(len(reached), dtype=torch.bool, device=reached.device)
            fallen[images] = True
            first = torch.full((len(reached),), len(climb.places), device=reached.device)
            first = first.scatter_reduce(0, images, rows, "amin")
            reached[fallen] = climb.points[first[fallen]]
            climb.keep((~fallen[climb.places]).nonzero()[:, 0])
            if len(climb.places) == 0:
                return


def _leaders(climb: Climb, lanes: int, kept: int) -> Int[Tensor, " rows"]:
    """The rows of highest loss of each image; its rows are neighbours, since images leave with all of them."""
    best = climb.highest.view(-1, lanes).topk(kept, dim=1).indices
    return (best + lanes * torch.arange(len(best), device=best.device)[:, None]).flatten()


def _towards(targets: Tensor, loss: TargetedLoss, outputs: Tensor, labels: Tensor) -> Tensor:
    return loss(outputs, labels, targets)


def _check_stages(stages: Sequence[Stage]) -> None:
    if not stages or any(later.targets > earlier.targets for earlier, later in pairwise(stages)):
        raise SettingError(f"Expected `stages` with ever fewer targets, at least one stage, but got {tuple(stages)}.")
    for stage in stages:
        at_least_one(targets=stage.targets, steps=stage.steps)
