import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from retemper.activations import Layers, record
from retemper.errors import LayerError, SettingError
from retemper.information.hsic import gaussian_kernel, hsic, normalised_hsic
from retemper.objectives import CrossEntropy, HSICBottleneck, as_spec, from_spec


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(("layers", "count"), [("all", 2), ("1", 1), (["1", "3"], 2)])
def test_it_is_the_weighted_dependence_on_inputs_less_that_on_labels_over_layers(
    layers: Layers, count: int, normalised: bool, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    with record(model, layers) as activations:
        model(inputs)
    assert len(activations) == count
    one_hot = torch.nn.functional.one_hot(labels).double()
    dependence = normalised_hsic if normalised else hsic
    expected = 0.0
    for output in activations.values():
        kernel = gaussian_kernel(output, 2.0)
        expected += 0.3 * dependence(gaussian_kernel(inputs, 2.0), kernel).item()
        expected -= 0.7 * dependence(one_hot @ one_hot.T, kernel).item()
    found = HSICBottleneck(layers, 0.3, 0.7, bandwidth=2.0, normalised=normalised)(model, inputs, labels)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_equal_classes_and_a_gaussian_kernel_of_one_hot_labels_are_proportional_once_centred(
    batch: Callable[[int], Any],
) -> None:
    inputs, labels = batch(3)
    one_hot = torch.nn.functional.one_hot(labels).double()
    layer = gaussian_kernel(inputs, 1.0)
    factor = 1 - math.exp(-2 / (2 * 25 * 3))
    found = hsic(gaussian_kernel(one_hot, 5.0), layer).item()
    assert found == pytest.approx(factor * hsic(one_hot @ one_hot.T, layer).item(), rel=1e-9)


def test_a_layer_that_tells_the_classes_apart_and_nothing_else_is_best() -> None:
    labels = torch.arange(12) % 3
    inputs = torch.rand(12, 5, generator=torch.Generator().manual_seed(0))
    inputs = torch.cat([inputs, torch.nn.functional.one_hot(labels).float()], dim=1)

    def layer(weights: torch.Tensor) -> float:
        linear = nn.Linear(8, weights.shape[0], bias=False)
        linear.weight = nn.Parameter(weights)
        return HSICBottleneck(nn.Linear)(nn.Sequential(linear, nn.ReLU()), inputs, labels).item()

    eye = torch.eye(8)
    assert layer(10 * eye[5:]) < layer(10 * eye) < layer(10 * eye[:5])


def test_it_goes_with_any_shape_and_one_image_alone_counts_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    loss = HSICBottleneck()(model, torch.rand(1, 1, 4, 4), torch.tensor([2]))
    loss.backward()
    assert abs(loss.item()) < 1e-6


def test_layers_that_do_not_exist_are_named() -> None:
    with pytest.raises(LayerError, match="'conv9'"):
        HSICBottleneck("conv9")(nn.Sequential(nn.Linear(5, 3), nn.ReLU()), torch.rand(2, 5), torch.tensor([0, 1]))


def test_its_specification_is_read_back() -> None:
    objective = CrossEntropy() + 2 * HSICBottleneck("conv*_act", inputs=1.0, labels=50.0, normalised=False)
    assert repr(from_spec(as_spec(objective) or [])) == repr(objective)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": math.nan}, "`inputs`"),
        ({"labels": math.inf}, "`labels`"),
        ({"bandwidth": 0.0}, "`bandwidth`"),
        ({"bandwidth": math.nan}, "`bandwidth`"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        HSICBottleneck(**settings)  # type: ignore[arg-type] # floats out of a table
