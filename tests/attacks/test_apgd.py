import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.attacks import apgd
from retemper.attacks.apgd import CHECKPOINTS, _Climb, checkpoints
from retemper.threats import NORMS, Linf, Threat


@given(st.integers(1, 2000))
@settings(deadline=None)
def test_checkpoints_follow_the_papers_recurrence_exactly(steps: int) -> None:
    before, share = Fraction(0), Fraction(22, 100)
    expected = set()
    while share <= 1:
        expected.add(math.ceil(share * steps))
        before, share = share, share + max(share - before - Fraction(3, 100), Fraction(6, 100))
    assert checkpoints(steps) == expected


def official_checkpoints(steps: int) -> list[int]:
    """The counter of the official code, whose intervals are rounded one by one."""
    interval, least, decrease = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    places = []
    at = interval
    while at <= steps:
        places.append(at)
        interval = max(interval - decrease, least)
        at += interval
    return places


def test_checkpoints_are_the_official_ones_where_nothing_is_rounded() -> None:
    for steps in (100, 200, 500, 1000):
        assert sorted(checkpoints(steps)) == official_checkpoints(steps)
    assert sorted(checkpoints(100)) == list(CHECKPOINTS)


def test_for_other_numbers_of_steps_the_official_rounding_differs_from_the_paper() -> None:
    # With 10 steps: one interval of 2 and then one after every step, against the shares of the paper, rounded up.
    assert official_checkpoints(10) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert sorted(checkpoints(10)) == [3, 5, 6, 7, 8, 9, 10]
    assert official_checkpoints(50)[:3] == [11, 21, 30]
    assert sorted(checkpoints(50))[:3] == [11, 21, 29]


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
@pytest.mark.parametrize("seed", [2, 9, 27])  # among them ties of condition 1, and condition 2 alone
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


@pytest.mark.parametrize("rises", [2, 3, 4])
@pytest.mark.parametrize("halved_then", [False, True])
@pytest.mark.parametrize("gained", [False, True])
def test_the_step_size_is_halved_by_condition_1_or_2(rises: int, halved_then: bool, gained: bool) -> None:
    inputs, label, here, best = (
        torch.zeros(1, 2),
        torch.zeros(1, dtype=torch.int64),
        torch.ones(1, 2),
        torch.full((1, 2), 2.0),
    )
    climb = _Climb(inputs, label, label, here, Linf(0.5))
    climb.best, climb.best_gradient = best, 7 * best
    climb.rises, climb.last_checkpoint = torch.tensor([float(rises)]), 6
    climb.highest_then, climb.highest = torch.tensor([1.0]), torch.tensor([1.5 if gained else 1.0])
    climb.halved_then, climb.last_loss = torch.tensor([halved_then]), torch.tensor([0.5])
    climb.reconsider(10)
    # Of four steps, fewer than three rose; or the size stayed at the last checkpoint and nothing was gained since.
    halved = rises < 3 or (not halved_then and not gained)
    assert climb.step_size.item() == (0.5 if halved else 1.0)
    assert torch.equal(climb.points, best if halved else here)
    assert torch.equal(climb.gradient, 7 * best if halved else torch.zeros(1, 2))
    assert climb.last_loss.item() == (climb.highest.item() if halved else 0.5)
    assert climb.halved_then.item() is halved
    assert climb.highest_then.item() == climb.highest.item()
    assert (climb.rises.item(), climb.last_checkpoint) == (0, 10)
