"""The input gradient of every n-th image of a batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.objectives import CrossEntropy, InputGradient

TERMS = [(squared, step) for squared in (False, True) for step in (None, 0.1)]


def gradients(loss: Tensor, model: nn.Module) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, tuple(model.parameters()), materialize_grads=True)


@pytest.mark.parametrize(("squared", "step"), TERMS)
@pytest.mark.parametrize("every", [2, 3, 7, 100])
def test_the_mean_over_all_draws_of_images_is_the_value_on_all_of_them(
    every: int,
    squared: bool,
    step: float | None,
    network: Callable[[int], nn.Module],
    batch: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    draws: list[Any] = []
    for first in range(min(every, 7)):
        monkeypatch.setattr(torch, "randint", lambda high, _size, first=first: torch.arange(high)[first])
        loss = InputGradient("loss", "l1", squared, step, every)(model, inputs, labels)
        draws.append([loss, *gradients(loss, model)])
    loss = InputGradient("loss", "l1", squared, step)(model, inputs, labels)
    for found, expected in zip(zip(*draws, strict=True), [loss, *gradients(loss, model)], strict=True):
        torch.testing.assert_close(torch.stack(found).mean(0), expected)


@pytest.mark.parametrize(("step", "expected"), [(None, [7, 4]), (0.1, [7, 4, 4])])
def test_only_the_chosen_images_are_passed_again(
    step: float | None,
    expected: list[int],
    network: Callable[[int], nn.Module],
    batch: Callable[[int], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "randint", lambda _high, _size: torch.tensor(0))
    model = network(3)
    passes: list[int] = []
    model.register_forward_pre_hook(lambda _module, arguments: passes.append(len(arguments[0])))
    (CrossEntropy() + InputGradient(step=step, every=2))(model, *batch(3)).backward()
    assert passes == expected


@pytest.mark.parametrize("step", [None, 0.1])
def test_in_evaluation_mode_all_images_count_and_nothing_is_drawn(
    step: float | None, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3).eval(), batch(3)
    state = torch.get_rng_state()
    some, every = (InputGradient(step=step, every=n)(model, inputs, labels) for n in (3, 1))
    assert torch.equal(some, every)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_validation_loop_without_gradients_may_measure_some(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    with torch.no_grad():
        loss = (CrossEntropy() + InputGradient(step=0.1, every=3))(network(3), *batch(3))
    assert loss.isfinite()
    assert not loss.requires_grad


def test_less_than_every_image_is_refused() -> None:
    with pytest.raises(SettingError, match="`every` to be 1 or more, but got 0"):
        InputGradient(every=0)
