import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from retemper.activations import Layers
from retemper.errors import LayerError, ModelError, SettingError
from retemper.information import MEASURES
from retemper.objectives import ActivationEntropy


def loop(rows: list[list[float]]) -> float:
    total = 0.0
    for row in rows:
        shares = [abs(value) / sum(map(abs, row)) for value in row]
        total -= sum(share * math.log(share) for share in shares if share)
    return total / len(rows)


@pytest.mark.parametrize(
    ("layers", "stops"), [("all", (2, 4)), ("3", (4,)), (nn.Linear, (1, 3, 5)), (["1", "4"], (2, 5))]
)
def test_it_is_the_sum_over_layers_of_the_mean_over_images(
    layers: Layers, stops: tuple[int, ...], network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    expected = sum(loop(model[:stop](inputs).tolist()) for stop in stops)
    assert ActivationEntropy(layers)(model, inputs, labels).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_is_summed_over_layers(
    measure: str, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    outputs = [model[:2](inputs), model[:4](inputs)]
    expected = sum(MEASURES[measure].entropy(output).item() for output in outputs)
    assert ActivationEntropy(measure=measure)(model, inputs, labels).item() == pytest.approx(expected, rel=1e-12)


def test_an_unknown_measure_is_an_error_that_lists_them() -> None:
    with pytest.raises(SettingError, match=r"activation, softmax, unit, renyi, but got 'shannon'"):
        ActivationEntropy(measure="shannon")


def test_unknown_layers_are_an_error_at_the_first_batch(batch: Callable[[int], Any]) -> None:
    inputs, labels = batch(3)
    with pytest.raises(LayerError, match=r"nn\.ReLU\(\)"):
        ActivationEntropy()(nn.Linear(5, 3).double(), inputs, labels)
    with pytest.raises(LayerError, match="conv1"):
        ActivationEntropy("conv1")(nn.Sequential(nn.Linear(5, 3)).double(), inputs, labels)


def test_an_output_that_is_overwritten_is_an_error(batch: Callable[[int], Any]) -> None:
    inputs, labels = batch(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Dropout(inplace=True), nn.Linear(4, 3)).double()
    with pytest.raises(LayerError, match="changed in place"):
        ActivationEntropy("0")(nn.Sequential(nn.Linear(5, 3), nn.ReLU(inplace=True)).double(), inputs, labels)
    with pytest.raises((LayerError, ModelError), match="changed in place"):
        ActivationEntropy()(model, inputs, labels)


def test_whatever_follows_an_all_zero_layer_gets_finite_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].bias.fill_(-100)
    for measure in MEASURES:
        model.zero_grad()
        ActivationEntropy(measure=measure)(model, torch.rand(6, 5), torch.arange(6) % 3).backward()
        assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
