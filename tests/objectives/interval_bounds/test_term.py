import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import SettingError
from retemper.evaluation.adaptive import adaptive
from retemper.models import create
from retemper.objectives import CrossEntropy, IntervalBounds, LogitSqueezing, as_spec, from_spec


class Value(nn.Module):
    """The loss as a module, so that a functional call can put other parameters into the model."""

    def __init__(self, term: IntervalBounds, model: nn.Module) -> None:
        super().__init__()
        self.term, self.model = term, model

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self.term(self.model, inputs, labels)


def loop_bounds(model: nn.Sequential, lower: list[float], upper: list[float]) -> tuple[list[float], list[float]]:
    """Interval arithmetic of numbers: each weight takes the end that its sign asks for."""
    for layer in model:
        if isinstance(layer, nn.Linear):
            lows, highs = [], []
            for row, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True):
                ends = [(w * low, w * high) for w, low, high in zip(row, lower, upper, strict=True)]
                lows.append(bias + sum(min(pair) for pair in ends))
                highs.append(bias + sum(max(pair) for pair in ends))
            lower, upper = lows, highs
        else:
            lower, upper = (layer(torch.tensor(end, dtype=torch.float64)).tolist() for end in (lower, upper))
    return lower, upper


@pytest.mark.parametrize(
    ("progress", "radius", "kappa"), [(0.0, 0.0, 1.0), (0.2, 0.05, 0.875), (0.4, 0.1, 0.75), (1.0, 0.1, 0.75)]
)
def test_value_and_gradient_are_those_of_interval_arithmetic_in_loops(
    progress: float, radius: float, kappa: float, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    losses = []
    for image, label in zip(inputs, labels.tolist(), strict=True):
        low, high = ((image + end).clamp(0, 1).tolist() for end in (-radius, radius))
        lows, highs = loop_bounds(model[:-1], low, high)
        margins = []
        for k in range(3):
            gap = (model[-1].weight[k] - model[-1].weight[label]).tolist()
            shift = (model[-1].bias[k] - model[-1].bias[label]).item()
            margins.append(shift + sum(max(g * a, g * b) for g, a, b in zip(gap, lows, highs, strict=True)))
        worst = math.log(sum(map(math.exp, margins)))
        losses.append(kappa * F.cross_entropy(model(image[None])[0], torch.tensor(label)).item() + (1 - kappa) * worst)
    term = IntervalBounds(0.1, kappa=0.75, warmup=0.4)
    loss = term.compute(model, inputs, labels, progress=progress)
    assert loss.total.item() == pytest.approx(sum(losses) / len(losses), rel=1e-12)
    assert list(loss.parts) == ["interval-bounds"]


def test_the_gradient_by_the_parameters_is_that_of_the_value(
    network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    value, (inputs, labels) = Value(IntervalBounds(0.1), network(3)), batch(3)
    names = [name for name, _ in value.named_parameters()]

    def loss(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(value, dict(zip(names, parameters, strict=True)), (inputs, labels))

    parameters = tuple(parameter.detach().clone().requires_grad_() for parameter in value.parameters())
    assert torch.autograd.gradcheck(loss, parameters, fast_mode=True)


def test_at_the_worst_the_loss_is_no_smaller(network: Callable[[int], nn.Module], batch: Callable[[int], Any]) -> None:
    losses = [IntervalBounds(radius, kappa=0)(network(3), *batch(3)).item() for radius in (1e-9, 0.05, 0.1, 0.2)]
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(CrossEntropy()(network(3), *batch(3)).item(), rel=1e-6)


def test_autocast_to_bf16_leaves_the_bounds_in_full_precision() -> None:
    torch.manual_seed(0)
    model = create("small-cnn", shape=(1, 8, 8), classes=3)
    inputs, labels = torch.rand(12, 1, 8, 8), torch.arange(12) % 3
    expected = IntervalBounds(0.01, kappa=0)(model, inputs, labels).item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = IntervalBounds(0.01, kappa=0)(model, inputs, labels)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_training_brings_down_the_worst_case_of_digits_that_plain_training_leaves_high(digits: Split) -> None:
    inputs, labels, losses = digits.inputs.flatten(1)[:200], digits.labels[:200], []
    for objective in (CrossEntropy(), IntervalBounds(0.05)):
        torch.manual_seed(0)
        model = create("mlp", shape=(64,), classes=10)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
        for step in range(60):
            loss = objective.compute(model, inputs, labels, progress=step / 60).total
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert (model(inputs).argmax(1) == labels).double().mean() > 0.8
        losses.append(IntervalBounds(0.05, kappa=0)(model, inputs, labels).item())
    assert losses[0] > 10
    assert losses[1] < 1


def test_inputs_outside_the_bounds_are_refused_instead_of_clamped(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    inputs, labels = batch(3)
    with pytest.raises(SettingError, match=r"within the bounds \[0, 1\].*Normalise"):
        IntervalBounds(0.1)(network(3), 4 * inputs - 2, labels)
    assert IntervalBounds(0.1, bounds=(-2.0, 2.0))(network(3), 4 * inputs - 2, labels).isfinite()


def test_attacks_have_a_loss_of_their_own_in_its_place_and_its_specification_is_read_back() -> None:
    assert adaptive(IntervalBounds(0.1)) is None
    objective = 2 * IntervalBounds(0.1, bounds=(-1.0, 1.0)) + LogitSqueezing()
    assert repr(from_spec(json.loads(json.dumps(as_spec(objective))))) == repr(objective)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": 0.0}, "`radius`"),
        ({"radius": math.inf}, "`radius`"),
        ({"radius": 0.1, "kappa": 1.5}, "`kappa`"),
        ({"radius": 0.1, "warmup": -0.5}, "`warmup`"),
        ({"radius": 0.1, "bounds": (1.0, 0.0)}, "`bounds`"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        IntervalBounds(**settings)
