from collections import OrderedDict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models import logits
from retemper.objectives.interval_bounds.boxes import Box
from retemper.objectives.interval_bounds.margins import layers_of, worst_margins


def network(outputs: int, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        return nn.Sequential(features, nn.Linear(12, 6), nn.SiLU(), nn.Linear(6, outputs)).double()


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def margins(outputs: Tensor, labels: Tensor) -> Tensor:
    return outputs - outputs.gather(1, labels[:, None])


@given(st.integers(0, 10**6), st.floats(0, 0.3), st.sampled_from([1, 2, 4]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_input_in_the_ball_has_a_larger_margin(seed: int, radius: float, outputs: int, softened: bool) -> None:
    model = network(outputs, seed)
    if softened:
        model.append(nn.Softplus())
    inputs, labels = images(4, seed), torch.arange(4) % max(outputs, 2)
    worst = worst_margins(model, Box(inputs - radius, inputs + radius), labels)
    assert torch.equal(worst.gather(1, labels[:, None]), torch.zeros(4, 1, dtype=torch.float64))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(20):
        moves = (2 * torch.rand(inputs.shape, generator=generator, dtype=torch.float64) - 1) * 3
        moved = inputs + radius * moves.clamp(-1, 1)
        assert (margins(logits(model, moved), labels) <= worst + 1e-9).all()


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_a_radius_of_zero_gives_the_margins_themselves(outputs: int) -> None:
    inputs, labels = images(4), torch.arange(4) % max(outputs, 2)
    model = network(outputs)
    expected = margins(logits(model, inputs), labels)
    torch.testing.assert_close(worst_margins(model, Box(inputs, inputs), labels), expected)
    model = model.append(nn.Tanh())
    expected = margins(logits(model, inputs), labels)
    torch.testing.assert_close(worst_margins(model, Box(inputs, inputs), labels), expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_it_is_exact_for_one_linear_layer(outputs: int, bias: bool) -> None:
    """max over the box of (w_k - w_y) . x + b_k - b_y = (w_k - w_y) . c + r ||w_k - w_y||_1 + b_k - b_y, in loops."""
    torch.manual_seed(outputs)
    linear = nn.Linear(6, outputs, bias=bias).double()
    inputs, labels = images(3).flatten(1)[:, :6], torch.arange(3) % max(outputs, 2)
    rows = linear.weight.tolist() if outputs > 1 else [[0.0] * 6, linear.weight[0].tolist()]
    shifts = linear.bias.tolist() if bias else [0.0] * outputs
    shifts = shifts if outputs > 1 else [0.0, *shifts]
    found = worst_margins(nn.Sequential(linear), Box(inputs - 0.1, inputs + 0.1), labels)
    for image, label, values in zip(inputs.tolist(), labels.tolist(), found.tolist(), strict=True):
        for k, value in enumerate(values):
            gap = [one - other for one, other in zip(rows[k], rows[label], strict=True)]
            expected = sum(g * x + 0.1 * abs(g) for g, x in zip(gap, image, strict=True)) + shifts[k] - shifts[label]
            assert value == pytest.approx(expected, abs=1e-12)


def test_layers_run_in_order_through_nested_networks_and_as_often_as_they_are_there() -> None:
    shared = nn.ReLU()
    model = nn.Sequential(
        OrderedDict(
            head=nn.Sequential(nn.Linear(3, 3), shared), middle=nn.Linear(3, 3), again=shared, last=nn.Linear(3, 2)
        )
    )
    assert [name for name, _ in layers_of(model)] == ["head.0", "head.1", "middle", "again", "last"]
    assert [name for name, _ in layers_of(nn.DataParallel(model))] == ["head.0", "head.1", "middle", "again", "last"]


def test_models_whose_order_is_unknown_and_layers_without_a_bound_are_named() -> None:
    class Own(nn.Module):
        def forward(self, inputs: Tensor) -> Any:
            return inputs

    class Skipping(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            return input + super().forward(input)

    box, labels = Box(torch.zeros(2, 5), torch.ones(2, 5)), torch.tensor([0, 1])
    for model in (Own(), Skipping(nn.Linear(5, 5))):
        with pytest.raises(ModelError, match=rf"nn\.Sequential alone.*{type(model).__name__}"):
            worst_margins(model, box, labels)
    with pytest.raises(ModelError, match="'1', a BatchNorm1d"):
        worst_margins(nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)), box, labels)
    inner = nn.Sequential(OrderedDict(skip=Skipping(nn.Linear(5, 5))))
    with pytest.raises(ModelError, match=r"'0\.skip', a Skipping"):
        worst_margins(nn.Sequential(inner, nn.Linear(5, 2)), box, labels)
