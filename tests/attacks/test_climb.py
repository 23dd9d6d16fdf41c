import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retemper.attacks.ascent import Ascent
from retemper.attacks.climb import CHECKPOINTS, Climb, checkpoints
from retemper.threats import L2, Linf


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
    climb = Climb(inputs, label, label, here, Linf(0.5))
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


def standing(*, rows: int = 3, step_size: float = 2.0) -> Climb:
    inputs = torch.full((rows, 2), 0.5)
    return Climb(inputs, torch.arange(rows), torch.arange(rows), inputs.clone(), L2(0.1), step_size)


def test_the_first_step_size_is_in_radii() -> None:
    assert standing().step_size.tolist() == pytest.approx([0.2] * 3)
    assert standing(step_size=0.5).step_size.tolist() == pytest.approx([0.05] * 3)


def test_the_first_look_is_no_rise_and_later_ones_are_counted() -> None:
    climb = standing()
    gradients = torch.arange(6.0).view(3, 2)
    for losses, rises, highest in [
        ([1.0, 1.0, 1.0], [0, 0, 0], [1.0, 1.0, 1.0]),
        ([2.0, 1.0, 0.5], [1, 0, 0], [2.0, 1.0, 1.0]),
        ([1.5, 2.0, 0.7], [1, 1, 1], [2.0, 2.0, 1.0]),
    ]:
        climb.points, gradients = climb.points + 0.01, gradients + 1
        climb.see(Ascent(torch.tensor(losses), torch.zeros(3, dtype=torch.bool), gradients))
        assert climb.rises.tolist() == rises
        assert climb.highest.tolist() == highest
    # The best points and their gradients are those of looks 2, 3 and 1.
    torch.testing.assert_close(climb.best[:, 0], torch.tensor([0.52, 0.53, 0.51]))
    assert climb.best_gradient[:, 0].tolist() == [0.0 + 2, 2.0 + 3, 4.0 + 1]


def test_keeping_rows_keeps_everything_about_them() -> None:
    climb = standing()
    climb.see(Ascent(torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3, dtype=torch.bool), torch.arange(6.0).view(3, 2)))
    before = {name: value for name, value in vars(climb).items() if isinstance(value, torch.Tensor)}
    climb.keep(torch.tensor([True, False, True]))
    assert before
    for name, value in before.items():
        assert torch.equal(getattr(climb, name), value[[0, 2]]), name


def test_a_step_is_projected_before_and_after_the_momentum_joins() -> None:
    climb = standing(rows=1)
    climb.gradient = torch.tensor([[3.0, 4.0]])
    climb.move(momentum=False)
    torch.testing.assert_close(climb.points, torch.tensor([[0.56, 0.58]]))  # 0.2 along (0.6, 0.8), cut to 0.1
    climb.gradient = torch.tensor([[0.0, -1.0]])
    climb.move(momentum=True)
    # z = projection of (0.56, 0.38); then 3/4 of the way to it and 1/4 of the step before.
    z = torch.tensor([0.06, -0.12])
    z = 0.1 * z / z.norm()
    expected = torch.tensor([0.06, 0.08]) + 0.75 * (z - torch.tensor([0.06, 0.08])) + 0.25 * torch.tensor([0.06, 0.08])
    assert expected.norm() < 0.1, "so that the second projection changes nothing"
    torch.testing.assert_close(climb.points[0], 0.5 + expected)
