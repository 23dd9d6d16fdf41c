import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import nn

from retemper.errors import SettingError
from retemper.objectives import InputGradient
from retemper.objectives.forward import Differentiated
from retemper.threats import L2, Linf

Norm = Literal["l1", "l2"]


def loop(
    model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, of: Differentiated, norm: Norm, squared: bool
) -> float:
    """One image at a time, each with a graph of its own."""
    sizes = []
    for row, label in zip(inputs, labels.tolist(), strict=True):
        image = row.clone().requires_grad_()
        logits = model(image[None])[0]
        if len(logits) == 1:
            logits = torch.stack([torch.zeros_like(logits[0]), logits[0]])
        if of == "loss":
            scalar = logits.logsumexp(0) - logits[label]
        else:
            scalar = logits[label] - max(value for k, value in enumerate(logits) if k != label)
        scalar.backward()
        assert image.grad is not None
        gradient = image.grad.flatten().tolist()
        size = sum(map(abs, gradient)) if norm == "l1" else math.sqrt(sum(value**2 for value in gradient))
        sizes.append(size**2 if squared else size)
    return sum(sizes) / len(sizes)


@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("of", ["loss", "scores"])
def test_it_is_the_mean_over_images_of_the_norm_of_their_own_gradient(
    of: Differentiated,
    norm: Norm,
    squared: bool,
    outputs: int,
    network: Callable[[int], nn.Module],
    batch: Callable[[int], Any],
) -> None:
    model, (inputs, labels) = network(outputs), batch(max(outputs, 2))
    found = InputGradient(of, norm, squared)(model, inputs, labels).item()
    assert found == pytest.approx(loop(model, inputs, labels, of, norm, squared), rel=1e-10)


def test_maps_are_taken_whole() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    inputs, labels = torch.rand(5, 2, 4, 4, dtype=torch.float64), torch.arange(5) % 3
    found = InputGradient("loss", "l1", squared=False)(model, inputs, labels).item()
    assert found == pytest.approx(loop(model, inputs, labels, "loss", "l1", squared=False), rel=1e-10)


def test_of_a_linear_model_it_is_the_distance_of_the_weight_vectors() -> None:
    model = nn.Linear(4, 2).double()
    difference = (model.weight[1] - model.weight[0]).detach()
    inputs, labels = torch.rand(6, 4, dtype=torch.float64), torch.arange(6) % 2
    assert InputGradient()(model, inputs, labels).item() == pytest.approx(difference.square().sum().item())
    l1 = InputGradient(norm="l1", squared=False)(model, inputs, labels).item()
    assert l1 == pytest.approx(difference.abs().sum().item())


@pytest.mark.parametrize("threat", [Linf(1e-5), L2(1e-5)])
def test_the_dual_norm_is_the_rise_of_the_loss_to_first_order(
    threat: Linf | L2, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    images = inputs.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(images), labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, images)
    with torch.no_grad():
        moved = inputs + threat.radius * threat.steepest(gradient)
        rise = nn.functional.cross_entropy(model(moved), labels, reduction="sum") - loss
    penalty = InputGradient("loss", threat.dual, squared=False)(model, inputs, labels).item()
    assert rise.item() / len(inputs) / threat.radius == pytest.approx(penalty, rel=1e-3)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("of", ["loss", "scores"])
def test_a_gradient_of_zero_has_no_norm_and_finite_gradients(of: Differentiated, norm: Norm, squared: bool) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    penalty = InputGradient(of, norm, squared)(model, torch.rand(6, 5), torch.arange(6) % 3)
    penalty.backward()
    assert penalty.item() == 0
    assert all(parameter.grad is None or (parameter.grad == 0).all() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"), [(("logits", "l2"), "`of`.*'logits'"), (("loss", "linf"), "`norm`.*'linf'")]
)
def test_unknown_settings_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        InputGradient(*arguments)
