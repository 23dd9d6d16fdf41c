"""On linear models the distance to the nearest wrong answer is known: attacks must reach it, and not go below."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from retemper.attacks import apgd, pgd
from retemper.models import logits
from retemper.threats import NORMS

UNBOUNDED = (-1e4, 1e4)
CASES = [(2, "ce"), (2, "margin"), (3, "ce"), (3, "margin"), (3, "dlr"), (5, "ce"), (5, "margin"), (5, "dlr")]


def at_distance_one(classes: int, norm: str, scale: float) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model, inputs and labels such that the nearest wrong answer is exactly 1 away from each input."""
    generator = torch.Generator().manual_seed(classes)
    # Rows of equal length and at right angles: ascent towards the nearest class does not end at a farther one.
    weight = torch.linalg.qr(torch.randn(12, classes, generator=generator, dtype=torch.float64)).Q.T
    bias = torch.randn(classes, generator=generator, dtype=torch.float64)
    # All logits are equal at the origin of the rays, so that distances grow in proportion along each ray.
    origin = -torch.linalg.lstsq(weight, bias[:, None]).solution[:, 0]
    rays = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    scores = rays @ weight.T
    labels = scores.argmax(1)
    distances = torch.empty(len(rays), dtype=torch.float64)
    for image, label in enumerate(labels.tolist()):
        distances[image] = min(
            float(scores[image, label] - scores[image, other])
            / float((weight[label] - weight[other]).norm(p=1 if norm == "linf" else 2))
            for other in range(classes)
            if other != label
        )
    model = nn.Linear(12, classes, dtype=torch.float64)
    model.weight.data, model.bias.data = scale * weight, scale * bias
    return model, origin + rays / distances[:, None], labels


# Steps long enough to cross the ball: its default, 2.5 radii in all, can leave pgd 1.4 % short of the farthest point.
ATTACKS = {"pgd": partial(pgd, step_size=0.25), "apgd": apgd}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("classes", "loss"), CASES)
def test_every_image_falls_just_beyond_the_distance_and_none_before(
    attack: str, norm: str, classes: int, loss: str
) -> None:
    model, inputs, labels = at_distance_one(classes, norm, scale=10)
    model, inputs = model.float(), inputs.float()
    for radius, expected in ((0.99, 0), (1.01, len(inputs))):
        threat = NORMS[norm](radius, UNBOUNDED)
        moved = ATTACKS[attack](model, inputs, labels, threat, steps=25, restarts=20 if expected else 1, loss=loss)
        assert threat.allows(moved, inputs).all()
        assert int((logits(model, moved).argmax(1) != labels).sum()) == expected


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
# Cross-entropy on tiny logits pulls towards all classes at once, whatever is nearest: it is left out there.
@pytest.mark.parametrize(
    ("loss", "scale"), [("ce", 1e4), ("margin", 1e4), ("margin", 1e-6), ("dlr", 1e4), ("dlr", 1e-6)]
)
def test_the_scale_of_the_logits_hides_nothing(attack: str, norm: str, loss: str, scale: float) -> None:
    model, inputs, labels = at_distance_one(3, norm, scale)
    moved = ATTACKS[attack](
        model.float(), inputs.float(), labels, NORMS[norm](1.01, UNBOUNDED), steps=25, restarts=20, loss=loss
    )
    assert (logits(model, moved).argmax(1) != labels).all()
