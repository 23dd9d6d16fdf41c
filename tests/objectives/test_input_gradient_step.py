"""The input gradient's norm as a finite difference."""

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.objectives import CrossEntropy, InputGradient
from retemper.objectives.forward import Differentiated

Norm = Literal["l1", "l2"]
FORMS = [(of, norm) for of in ("loss", "scores") for norm in ("l1", "l2")]


def images(classes: int = 3) -> tuple[Tensor, Tensor]:
    return torch.rand(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64), torch.arange(6) % classes


def relu_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3)).double()


def value(model: nn.Module, image: Tensor, label: int, of: Differentiated) -> Tensor:
    logits = model(image[None])[0]
    if len(logits) == 1:
        logits = torch.stack([torch.zeros_like(logits[0]), logits[0]])
    if of == "loss":
        return logits.logsumexp(0) - logits[label]
    return logits[label] - torch.stack([score for k, score in enumerate(logits) if k != label]).max()


def loop(
    model: nn.Module, inputs: Tensor, labels: Tensor, of: Differentiated, norm: Norm, squared: bool, step: float
) -> Tensor:
    """The written-out formula, one image at a time, with the direction as plain numbers."""
    slopes = []
    for row, label in zip(inputs, labels.tolist(), strict=True):
        image = row.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(model, image, label, of), image)
        numbers = gradient.flatten().tolist()
        length = math.sqrt(sum(number**2 for number in numbers))
        if norm == "l1":
            direction = [(number > 0) - (number < 0) for number in numbers]
        else:
            direction = [number / length if length else 0 for number in numbers]
        away = row + step * torch.tensor(direction, dtype=row.dtype).view_as(row)
        slope = (value(model, away, label, of) - value(model, row, label, of)) / step
        slopes.append(slope**2 if squared else slope)
    return torch.stack(slopes).mean()


@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("of", "norm"), FORMS)
def test_value_and_gradient_are_those_of_the_written_out_formula(
    of: Differentiated,
    norm: Norm,
    squared: bool,
    outputs: int,
    network: Callable[[int], nn.Module],
    batch: Callable[[int], Any],
) -> None:
    model, (inputs, labels) = network(outputs), batch(max(outputs, 2))
    agree(model, inputs, labels, of, norm, squared)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("of", "norm"), FORMS)
def test_so_are_those_of_a_relu_network(of: Differentiated, norm: Norm, squared: bool) -> None:
    agree(relu_network(), *images(), of, norm, squared)


def agree(model: nn.Module, inputs: Tensor, labels: Tensor, of: Differentiated, norm: Norm, squared: bool) -> None:
    parameters = tuple(model.parameters())
    for step in (0.3, 1e-2):
        found = InputGradient(of, norm, squared, step)(model, inputs, labels)
        expected = loop(model, inputs, labels, of, norm, squared, step)
        assert found.item() == pytest.approx(expected.item(), rel=1e-9)
        # A bias that all scores share moves none of the differences, in the loop as in the term.
        ours = torch.autograd.grad(found, parameters, materialize_grads=True)
        theirs = torch.autograd.grad(expected, parameters, materialize_grads=True)
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("of", "norm"), FORMS)
def test_as_the_step_shrinks_it_becomes_the_norm(
    of: Differentiated, norm: Norm, squared: bool, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    exact = InputGradient(of, norm, squared)(model, inputs, labels)
    slopes = torch.autograd.grad(exact, tuple(model.parameters()), materialize_grads=True)
    errors = []
    for step in (1e-3, 1e-4, 1e-5):
        found = InputGradient(of, norm, squared, step)(model, inputs, labels)
        errors.append(abs(found.item() - exact.item()))
        by_parameters = torch.autograd.grad(found, tuple(model.parameters()), materialize_grads=True)
    # The error is of first order: a tenth of the step, a tenth of the error.
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.05)
    assert errors[2] == pytest.approx(errors[0] / 100, rel=0.05)
    for one, other in zip(by_parameters, slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_of_a_linear_model_it_is_the_norm_at_any_step() -> None:
    model, (inputs, labels) = nn.Linear(5, 2).double(), images(2)
    for norm in ("l1", "l2"):
        exact = InputGradient(norm=norm)(model, inputs, labels).item()
        assert InputGradient(norm=norm, step=0.7)(model, inputs, labels).item() == pytest.approx(exact, rel=1e-12)


def test_maps_are_taken_whole_and_leave_the_unit_cube() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    inputs, labels = torch.ones(5, 2, 4, 4, dtype=torch.float64), torch.arange(5) % 3
    seen = []
    model.register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0]))
    found = InputGradient("loss", "l2", squared=False, step=0.5)(model, inputs, labels).item()
    assert [len(passed) for passed in seen] == [5, 5]
    torch.testing.assert_close((seen[1] - inputs).flatten(1).norm(dim=1), torch.full((5,), 0.5, dtype=torch.float64))
    assert seen[1].max() > 1
    assert found == pytest.approx(loop(model, inputs, labels, "loss", "l2", False, 0.5).item(), rel=1e-10)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("of", "norm"), FORMS)
def test_where_the_gradient_is_zero_so_are_the_term_and_its_gradient(
    of: Differentiated, norm: Norm, squared: bool
) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    penalty = InputGradient(of, norm, squared, 0.1)(model, torch.rand(6, 5), torch.arange(6) % 3)
    penalty.backward()
    assert penalty.item() == 0
    assert all(parameter.grad is None or (parameter.grad == 0).all() for parameter in model.parameters())


def test_one_image_without_a_gradient_does_not_stop_its_neighbours() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Linear(5, 3)).double()
    inputs, labels = images()
    inputs[2] = -1
    found = InputGradient("loss", "l1", squared=False, step=0.1)(model, inputs, labels)
    assert found.item() == pytest.approx(loop(model, inputs, labels, "loss", "l1", False, 0.1).item(), rel=1e-10)


def test_nor_does_it_count_where_batch_normalisation_lets_neighbours_change_its_loss() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(), nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    inputs, labels = images()
    inputs[2] = -1
    points = inputs.clone().requires_grad_()
    here = nn.functional.cross_entropy(model(points), labels, reduction="none")
    (gradient,) = torch.autograd.grad(here.sum(), points)
    rises = nn.functional.cross_entropy(model(inputs + 0.1 * gradient.sign()), labels, reduction="none") - here
    assert (gradient[2] == 0).all()
    assert abs(rises[2].item()) > 1e-3
    found = InputGradient("loss", "l1", squared=False, step=0.1)(model, inputs, labels)
    assert found.item() == pytest.approx((rises.sum() - rises[2]).item() / 0.1 / 6, rel=1e-10)


def test_the_first_gradient_is_by_the_inputs_alone_and_has_no_graph(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = torch.autograd.grad

    def spy(outputs: Tensor, inputs: Tensor, **settings: Any) -> Any:
        calls.append((inputs.shape, settings["create_graph"]))
        return original(outputs, inputs, **settings)

    monkeypatch.setattr(torch.autograd, "grad", spy)
    objective = CrossEntropy() + InputGradient("loss", "l1", step=0.1) + InputGradient("loss", "l2", step=0.1)
    objective(network(3), *batch(3))
    assert calls == [((7, 5), False)]
    (objective + InputGradient("loss"))(network(3), *batch(3)).backward()
    assert [graph for _, graph in calls[1:]] == [False, True]


def test_the_moved_inputs_need_no_gradient_and_no_hook_is_left(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    needed = []
    hook = model.register_forward_pre_hook(lambda _module, arguments: needed.append(arguments[0].requires_grad))
    before = inputs.clone()
    InputGradient("loss", step=0.1)(model, inputs, labels).backward()
    hook.remove()
    assert needed == [True, False]
    assert torch.equal(inputs, before)
    assert not inputs.requires_grad
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_inputs_that_require_a_gradient_get_that_of_the_difference() -> None:
    model, (inputs, labels) = relu_network(), images()
    points = inputs.clone().requires_grad_()
    (found,) = torch.autograd.grad(InputGradient("loss", "l1", False, 0.2)(model, points, labels), points)
    (here,) = torch.autograd.grad(nn.functional.cross_entropy(model(points), labels, reduction="sum"), points)
    away = (inputs + 0.2 * here.sign()).requires_grad_()
    (there,) = torch.autograd.grad(nn.functional.cross_entropy(model(away), labels, reduction="sum"), away)
    torch.testing.assert_close(found, (there - here) / 0.2 / 6)


@pytest.mark.parametrize("step", [0.0, -1.0, math.inf, math.nan])
def test_steps_that_measure_nothing_are_refused(step: float) -> None:
    with pytest.raises(SettingError, match=r"`step`.*None for the exact gradient"):
        InputGradient(step=step)
