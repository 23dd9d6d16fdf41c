import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from retemper.errors import ModelError
from retemper.training.optimisers import OPTIMISERS, SCHEDULES, build


@pytest.mark.parametrize("name", SCHEDULES)
@given(done=st.floats(0, 1, exclude_max=True))
def test_a_schedule_is_a_share_of_the_highest_rate(name: str, done: float) -> None:
    assert 0 <= SCHEDULES[name](done) <= 1


def test_schedules_at_their_corners() -> None:
    assert SCHEDULES["cosine"](0) == 1
    assert math.isclose(SCHEDULES["cosine"](0.5), 0.5)
    assert SCHEDULES["linear"](0.25) == 0.75
    assert SCHEDULES["constant"](0.9) == 1
    assert SCHEDULES["one-cycle"](0) == 0
    assert math.isclose(SCHEDULES["one-cycle"](0.3), 1)
    assert SCHEDULES["one-cycle"](0.15) == 0.5
    assert SCHEDULES["one-cycle"](1) < 1e-12


@pytest.mark.parametrize("name", OPTIMISERS)
def test_only_what_is_not_frozen_is_optimised(name: str) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    optimiser = build(model, name, 0.25, 0.125)
    (group,) = optimiser.param_groups
    assert [id(value) for value in group["params"]] == [id(value) for value in model[1].parameters()]
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.125)


def test_sgd_is_nesterov_momentum() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimiser = OPTIMISERS["sgd"]([weight], 0.1, 0.0)
    velocity, expected = 0.0, 1.0
    for _ in range(3):
        optimiser.zero_grad()
        (weight**2).sum().backward()
        gradient = 2 * expected
        velocity = 0.9 * velocity + gradient
        expected -= 0.1 * (gradient + 0.9 * velocity)
        optimiser.step()
        assert math.isclose(weight.item(), expected, rel_tol=1e-5)


def test_nothing_to_optimise_is_refused() -> None:
    with pytest.raises(ModelError, match="of its 2 none requires a gradient"):
        build(nn.Linear(2, 2).requires_grad_(False), "adam", 0.1, 0.0)
