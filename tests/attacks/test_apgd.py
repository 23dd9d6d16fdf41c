from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.attacks import apgd
from retemper.attacks.climb import checkpoints
from retemper.attacks.losses import cross_entropy
from retemper.threats import L2, NORMS, Linf, Threat


class Watched(nn.Module):
    """A model in float64 that goes up and down many times within the ball, always answers 0, and remembers."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.first = 40 * torch.randn(6, 8, generator=generator, dtype=torch.float64)
        self.last = 0.3 * torch.randn(8, 3, generator=generator, dtype=torch.float64)
        self.asked: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked.append(inputs.detach().clone())
        return torch.sin(inputs @ self.first) @ self.last + torch.tensor([8.0, 0.0, 0.0], dtype=torch.float64)


def algorithm_1(
    model: nn.Module, x: Tensor, label: Tensor, threat: Threat, start: Tensor, n: int
) -> tuple[list[Tensor], int]:
    """Algorithm 1 of the paper on one image, with its own names; also how often the step size was halved."""

    def f(point: Tensor) -> tuple[float, Tensor]:
        leaf = point.clone().requires_grad_()
        loss = F.cross_entropy(model(leaf), label)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.item(), threat.steepest(gradient)

    def project(point: Tensor) -> Tensor:
        return threat.project(point, x)

    w = [0, *sorted(checkpoints(n))]
    eta, alpha, rho = 2 * threat.radius, 0.75, 0.75
    points = [start]
    values = [f(start)[0]]
    points.append(project(start + eta * f(start)[1]))
    current, previous = points[1], start
    values.append(f(current)[0])
    x_max, f_max = max(zip(points, values, strict=True), key=lambda pair: pair[1])
    rises = [values[1] > values[0]]
    reduced_at, maxima, halvings = {0: True}, {0: values[0]}, 0
    for k in range(1, n + 1):
        if k in w:
            j = w.index(k)
            condition_1 = sum(rises[w[j - 1] : w[j]]) < rho * (w[j] - w[j - 1])
            condition_2 = not reduced_at[w[j - 1]] and maxima[w[j - 1]] == f_max
            reduced_at[k], maxima[k] = condition_1 or condition_2, f_max
            if reduced_at[k]:
                eta, current, halvings = eta / 2, x_max, halvings + 1
        if k == n:
            break
        value, direction = f(current)
        z = project(current + eta * direction)
        current, previous = project(current + alpha * (z - current) + (1 - alpha) * (current - previous)), current
        points.append(current)
        rises.append(f(current)[0] > value)
        if f(current)[0] > f_max:
            x_max, f_max = current, f(current)[0]
    return points, halvings


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", [104, 171, 218])  # among them ties of condition 1, and condition 2 alone
def test_every_iterate_is_that_of_algorithm_1(norm: str, seed: int) -> None:
    model = Watched()
    x = torch.rand(1, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    label = model(x).argmax(1)
    threat = NORMS[norm](0.02 if norm == "linf" else 0.04)
    model.asked = []
    apgd(model, x, label, threat, steps=40)
    ours = [*model.asked]
    assert len(ours) == 41
    plain, halvings = algorithm_1(model, x, label, threat, ours[0], 40)
    assert halvings >= 3
    for iterate, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(iterate, expected, rtol=0, atol=1e-7)


def asked(x: Tensor, labels: Tensor, threat: Threat, **settings: Any) -> tuple[list[Tensor], Tensor]:
    """The points that were looked at, and what came back."""
    watched = Watched()
    moved = apgd(watched, x, labels, threat, **settings)
    return watched.asked, moved


@pytest.fixture
def situation() -> tuple[Watched, Tensor, Tensor]:
    """The model, inputs that it answers rightly, and their labels."""
    model, inputs = Watched(), torch.rand(4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return model, inputs, model(inputs).argmax(1)


@pytest.mark.parametrize("norm", NORMS)
def test_the_first_restart_begins_at_the_starts_moved_into_the_threat_and_the_second_does_not(
    norm: str, situation: tuple[Watched, Tensor, Tensor]
) -> None:
    threat = NORMS[norm](0.02)
    starts = situation[1] + torch.tensor([[0.001], [0.01], [1.0], [-1.0]], dtype=torch.float64)
    given_starts, _ = asked(*situation[1:], threat, steps=3, restarts=2, starts=starts)
    drawn, _ = asked(*situation[1:], threat, steps=3, restarts=2)
    assert torch.equal(given_starts[0], threat.project(starts, situation[1]))
    assert torch.equal(given_starts[4], drawn[4])
    assert not torch.equal(drawn[0], drawn[4])


@pytest.mark.parametrize("step_size", [0.25, 1.0])
def test_the_first_step_is_as_long_as_asked_for_in_radii(
    step_size: float, situation: tuple[Watched, Tensor, Tensor]
) -> None:
    threat = L2(0.02, (-9, 9))
    points, _ = asked(*situation[1:], threat, steps=1, step_size=step_size, starts=situation[1])
    torch.testing.assert_close(threat.distance(points[1], points[0]), torch.full((4,), 0.02 * step_size).double())


def pulled(model: nn.Module, candidates: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Far more of the first coordinate, whatever it does to the loss."""
    return model(candidates), 1e6 * candidates[:, 0].sum()


def test_what_is_extra_joins_the_gradient_but_not_the_loss(situation: tuple[Watched, Tensor, Tensor]) -> None:
    model, inputs, labels = situation
    threat = Linf(0.02)
    points, moved = asked(inputs, labels, threat, steps=9, extra=pulled)
    for point in points[1:]:
        torch.testing.assert_close(point[:, 0], threat.project(inputs + 1, inputs)[:, 0], rtol=0, atol=0.006)
    first = points[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        cross_entropy(model(first), labels).sum() + pulled(model, first, labels)[1], first
    )
    torch.testing.assert_close(points[1], threat.project(points[0] + 0.04 * gradient.sign(), inputs))
    losses = torch.stack([cross_entropy(model(point), labels) for point in points])
    torch.testing.assert_close(cross_entropy(model(moved), labels), losses.amax(0), rtol=0, atol=0)


def test_an_extra_of_zero_changes_nothing(situation: tuple[Watched, Tensor, Tensor]) -> None:
    threat = L2(0.04)
    expected = apgd(*situation, threat, steps=9)
    nothing = apgd(*situation, threat, steps=9, extra=lambda model, points, _: (model(points), torch.zeros(())))
    assert torch.equal(nothing, expected)
