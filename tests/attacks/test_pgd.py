import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.attacks import pgd
from retemper.errors import SettingError
from retemper.threats import L2, NORMS, Linf


class Small(nn.Module):
    """Two by two pixels, three classes, in float64; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first = torch.randn(4, 5, generator=generator, dtype=torch.float64)
        self.last = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        self.asked: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked.append(inputs.detach())
        return torch.tanh(inputs.flatten(1) @ self.first) @ self.last


def loss_of(model: Small, image: list[float], label: int) -> float:
    return float(
        F.cross_entropy(model(torch.tensor(image, dtype=torch.float64).view(1, 1, 2, 2)), torch.tensor([label]))
    )


def slope(model: Small, image: list[float], label: int, pixel: int) -> float:
    higher, lower = [*image], [*image]
    higher[pixel] += 1e-6
    lower[pixel] -= 1e-6
    return (loss_of(model, higher, label) - loss_of(model, lower, label)) / 2e-6


def plain_step(image: list[float], origin: list[float], gradient: list[float], norm: str, radius: float, length: float):  # type: ignore[no-untyped-def] # read as pseudocode
    size = math.sqrt(sum(g * g for g in gradient))
    moves = []
    for pixel, start, g in zip(image, origin, gradient, strict=True):
        direction = math.copysign(1, g) if norm == "linf" else g / size
        moves.append(pixel + length * direction - start)
    whole = math.sqrt(sum(move * move for move in moves))
    for place, move in enumerate(moves):
        moves[place] = max(-radius, min(radius, move)) if norm == "linf" else move * min(1, radius / whole)
    return [max(0.0, min(1.0, start + move)) for start, move in zip(origin, moves, strict=True)]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("random_start", [False, True])
def test_every_iterate_is_that_of_a_plain_loop(norm: str, random_start: bool) -> None:
    model = Small()
    inputs = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    inputs[0, 0, 0, 0], inputs[0, 0, 1, 1] = 0.0, 1.0  # so that the bounds matter too
    labels = model(inputs).argmax(1)
    radius, length, steps = 0.02, 0.008, 6
    for image in range(3):
        one, label = inputs[image : image + 1], int(labels[image])
        model.asked = []
        pgd(
            model,
            one,
            labels[image : image + 1],
            NORMS[norm](radius),
            steps=steps,
            step_size=length,
            random_start=random_start,
        )
        ours = [asked.flatten().tolist() for asked in model.asked]
        assert len(ours) == steps + 1, "the image has to stand, so that all iterates are there to compare"
        plain = ours[0]
        assert random_start or plain == one.flatten().tolist()
        for iterate in ours[1:]:
            gradient = [slope(model, plain, label, pixel) for pixel in range(4)]
            plain = plain_step(plain, one.flatten().tolist(), gradient, norm, radius, length)
            assert iterate == pytest.approx(plain, abs=1e-8)


def test_one_step_without_a_random_start_is_fgsm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 20), nn.ReLU(), nn.Linear(20, 4))
    inputs = torch.rand(30, 1, 4, 4)
    labels = model(inputs).argmax(1)
    leaf = inputs.clone().requires_grad_()
    F.cross_entropy(model(leaf), labels).backward()
    assert leaf.grad is not None
    fgsm = (inputs + 0.03 * leaf.grad.sign()).clamp(0, 1)
    moved = pgd(model, inputs, labels, Linf(0.03), steps=1, random_start=False)
    torch.testing.assert_close(moved, fgsm, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("steps", "length"), [(1, 0.01), (2, 0.01), (5, 0.005), (40, 0.0025)])
def test_the_default_step_is_two_and_a_half_radii_over_the_steps_from_a_quarter_of_the_radius_to_all_of_it(
    steps: int, length: float
) -> None:
    inputs = torch.rand(20, 1, 2, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    labels = Small()(inputs).argmax(1)
    default = pgd(Small(), inputs, labels, L2(0.01), steps=steps)
    torch.testing.assert_close(pgd(Small(), inputs, labels, L2(0.01), steps=steps, step_size=length), default)


def test_restarts_without_a_random_start_are_refused() -> None:
    with pytest.raises(SettingError, match="random start"):
        pgd(Small(), torch.rand(1, 1, 2, 2), torch.tensor([0]), Linf(0.1), restarts=2, random_start=False)


@pytest.mark.parametrize("step_size", [0.0, -0.1, math.nan])
def test_a_step_size_must_be_above_zero(step_size: float) -> None:
    with pytest.raises(SettingError, match="step_size"):
        pgd(Small(), torch.rand(1, 1, 2, 2), torch.tensor([0]), Linf(0.1), step_size=step_size)
