import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.objectives import Curvature


def loop(model: nn.Module, inputs: Tensor, labels: Tensor, step: float) -> Tensor:
    """The written-out formula, one image at a time, with the direction as plain numbers."""

    def slope(point: Tensor, label: Tensor) -> Tensor:
        point = point.clone().requires_grad_()
        logits = model(point[None])
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return torch.autograd.grad(F.cross_entropy(logits, label[None]), point, create_graph=True)[0]

    sizes = []
    for image, label in zip(inputs, labels, strict=True):
        here = slope(image, label)
        signs = [(number > 0) - (number < 0) for number in here.flatten().tolist()]
        length = math.sqrt(sum(sign**2 for sign in signs))
        direction = [sign / length if length else 0.0 for sign in signs]
        there = slope(image + step * torch.tensor(direction, dtype=image.dtype).view_as(image), label)
        sizes.append((there - here).square().sum())
    return torch.stack(sizes).mean()


@pytest.mark.parametrize("step", [1.5, 0.01])
@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_value_and_gradient_are_those_of_the_written_out_formula(
    outputs: int, step: float, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    agree(network(outputs), *batch(max(outputs, 2)), step)


def test_maps_are_taken_whole_and_zeros_in_the_gradient_do_not_move() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    with torch.no_grad():
        model[0].weight[:, 1] = 0
    agree(model, torch.rand(5, 2, 4, 4, dtype=torch.float64), torch.arange(5) % 3, 0.4)


def test_of_a_relu_network_what_curves_is_the_loss() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 3)).double()
    agree(model, torch.rand(6, 5, dtype=torch.float64), torch.arange(6) % 3, 0.3)


def agree(model: nn.Module, inputs: Tensor, labels: Tensor, step: float) -> None:
    found, expected = Curvature(step)(model, inputs, labels), loop(model, inputs, labels, step)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    parameters = tuple(model.parameters())
    ours, theirs = (torch.autograd.grad(value, parameters, materialize_grads=True) for value in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)


def test_for_small_steps_it_is_the_hessian_along_the_sign_of_the_gradient(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    sizes = []
    for image, label in zip(inputs, labels, strict=True):

        def loss(point: Tensor, label: Tensor = label) -> Tensor:
            return F.cross_entropy(model(point[None]), label[None])

        direction = torch.autograd.functional.jacobian(loss, image).sign() / math.sqrt(5)
        sizes.append((torch.autograd.functional.hessian(loss, image) @ direction).square().sum())
    found = Curvature(1e-4)(model, inputs, labels).item() / 1e-8
    assert found == pytest.approx(torch.stack(sizes).mean().item(), rel=1e-3)


def test_where_the_gradient_is_zero_so_are_the_term_and_its_gradient() -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    penalty = Curvature(0.1)(model, torch.rand(6, 5), torch.arange(6) % 3)
    penalty.backward()
    assert penalty.item() == 0
    assert all(parameter.grad is None or (parameter.grad == 0).all() for parameter in model.parameters())


def test_inputs_that_require_a_gradient_get_a_true_one(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    assert torch.autograd.gradcheck(lambda points: Curvature(0.3)(model, points, labels), (inputs.requires_grad_(),))


@pytest.mark.parametrize("step", [0.0, -1.0, math.inf, math.nan])
def test_steps_that_measure_nothing_are_refused(step: float) -> None:
    with pytest.raises(SettingError, match=r"`step`.*positive"):
        Curvature(step)
