import math

import pytest
import torch
from torch import nn

from retemper.activations import Layers
from retemper.errors import LayerError, ModelError
from retemper.information import LayerProfile, effective_rank, profile
from retemper.models import create


def tiny() -> nn.Sequential:
    """Two units: relu(x), relu(-x)."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Dropout(0.9), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    return model


IMAGES = torch.tensor([[1.0, 1.0], [3.0, 1.0], [-1.0, -1.0], [-2.0, 5.0]])
LABELS = torch.zeros(4, dtype=torch.int64)


def test_a_tiny_network_measured_by_hand() -> None:
    (layer,) = profile(tiny(), [(IMAGES, LABELS)])
    assert (layer.layer, layer.units, layer.images) == ("1", 2, 4)
    # Outputs (1, 1), (3, 1), (0, 0), (0, 5): five of eight above zero.
    assert layer.active == 5 / 8
    quarter = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert layer.activation_entropy == pytest.approx((math.log(2) + quarter) / 4)
    # The first unit fires on two images of four, the second on three.
    assert layer.unit_entropy == pytest.approx((math.log(2) + quarter) / 2)
    # Centred: (0, -3/4), (2, -3/4), (-1, -7/4), (-1, 13/4), hence [[6, -3], [-3, 59/4]] up to scale.
    half_trace, determinant = (6 + 14.75) / 2, 6 * 14.75 - 9
    root = math.sqrt(half_trace**2 - determinant)
    shares = [(half_trace + root) / (2 * half_trace), (half_trace - root) / (2 * half_trace)]
    assert layer.effective_rank == pytest.approx(math.exp(-sum(share * math.log(share) for share in shares)))


def test_maxima_are_those_of_the_width_and_the_number_of_images() -> None:
    layer = LayerProfile("act", 10, 4, 0.5, 1.0, 0.5, 2.0)
    assert layer.maxima == {
        "active": 1.0,
        "activation_entropy": math.log(10),
        "unit_entropy": math.log(2),
        "effective_rank": 3.0,
    }


def test_every_figure_has_a_maximum_and_stays_below_it() -> None:
    torch.manual_seed(0)
    model = create("small-cnn", shape=(1, 8, 8), classes=10)
    for layer in profile(model, [(torch.rand(30, 1, 8, 8), torch.zeros(30, dtype=torch.int64))]):
        for name, maximum in layer.maxima.items():
            assert 0 <= getattr(layer, name) <= maximum


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_size_of_batches_does_not_matter(size: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(create("lenet5", shape=(1, 8, 8), classes=10), nn.BatchNorm1d(10), nn.Tanh())
    images, labels = torch.rand(7, 1, 8, 8), torch.zeros(7, dtype=torch.int64)
    whole = profile(model, [(images, labels)])
    parts = profile(model, zip(images.split(size), labels.split(size), strict=True))
    assert len(whole) == 5
    for one, other in zip(whole, parts, strict=True):
        assert (one.layer, one.units, one.images) == (other.layer, other.units, other.images)
        for name in one.maxima:
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5)


def test_the_model_is_measured_in_evaluation_mode_and_left_as_it_was() -> None:
    model = tiny()
    model[2].eval()
    modes = [module.training for module in model.modules()]
    (layer,) = profile(model, [(IMAGES, LABELS)], nn.Dropout)
    assert layer.active == 5 / 8
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("layers", "names"), [("0", ["0"]), (nn.Linear, ["0", "3"]), (["1", "3"], ["1", "3"])])
def test_only_the_chosen_layers_are_measured(layers: Layers, names: list[str]) -> None:
    assert [layer.layer for layer in profile(tiny(), [(IMAGES, LABELS)], layers)] == names


def test_a_layer_that_runs_twice_is_measured_twice() -> None:
    act = nn.ReLU()
    model = nn.Sequential(nn.Linear(2, 3), act, nn.Linear(3, 5), act, nn.Linear(5, 2))
    first, second = profile(model, [(IMAGES, LABELS), (IMAGES[:1], LABELS[:1])])
    assert (first.layer, first.units, first.images) == ("1", 3, 5)
    assert (second.layer, second.units, second.images) == ("1#2", 5, 5)
    with torch.no_grad():
        expected = effective_rank(model[:4](torch.cat([IMAGES, IMAGES[:1]])))
    assert second.effective_rank == pytest.approx(float(expected))


def test_a_model_with_weights_that_are_no_numbers_is_an_error() -> None:
    model = tiny()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"'0\.weight'"):
        profile(model, [(IMAGES, LABELS)])


def test_layers_that_do_not_exist_are_an_error() -> None:
    with pytest.raises(LayerError, match="conv1"):
        profile(tiny(), [(IMAGES, LABELS)], "conv1")
