import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models import create
from retemper.models.normalise import Normalise
from retemper.models.silu import SiLU
from retemper.objectives.interval_bounds.boxes import Box, through

ACTIVATIONS = [
    nn.ReLU(),
    nn.LeakyReLU(0.2),
    nn.ELU(),
    nn.Softplus(),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.SiLU(),
    SiLU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
]


def weights(layer: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.double().parameters():
        nn.init.normal_(parameter, generator=generator)
    return layer


def box(shape: tuple[int, ...], width: float, seed: int) -> Box:
    generator = torch.Generator().manual_seed(seed)
    lower = torch.randn(shape, generator=generator, dtype=torch.float64)
    return Box(lower, lower + width * torch.rand(shape, generator=generator, dtype=torch.float64))


def inside(box: Box, seed: int) -> Tensor:
    """A point of each box, often in one of its corners."""
    generator = torch.Generator().manual_seed(seed)
    share = (3 * torch.rand(box.lower.shape, generator=generator, dtype=torch.float64) - 1).clamp(0, 1)
    return box.lower + share * (box.upper - box.lower)


@pytest.mark.parametrize("layer", ACTIVATIONS, ids=repr)
def test_the_box_of_an_activation_is_the_range_of_its_values(layer: nn.Module) -> None:
    ends = torch.linspace(-4, 4, 17, dtype=torch.float64)
    pairs = [(low, high) for low, high in itertools.product(ends.tolist(), repeat=2) if low <= high]
    lows, highs = torch.tensor(pairs, dtype=torch.float64).T
    found = through("act", layer, Box(lows, highs))
    grid = lows + (highs - lows) * torch.linspace(0, 1, 4001, dtype=torch.float64)[:, None]
    values = layer(grid)
    torch.testing.assert_close(found.lower, values.amin(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.upper, values.amax(0), rtol=0, atol=1e-5)
    assert (found.lower <= values.amin(0) + 1e-12).all()
    assert (found.upper >= values.amax(0) - 1e-12).all()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4), (3, 6)),
        (nn.Linear(6, 4, bias=False), (3, 6)),
        (nn.Conv2d(2, 3, 2), (1, 2, 2, 2)),
        (nn.Conv2d(2, 2, 2, padding=1, stride=2, groups=2), (1, 2, 2, 2)),
        (nn.Conv2d(1, 2, 2, dilation=2, padding="same"), (1, 1, 2, 3)),
    ],
    ids=repr,
)
def test_the_box_of_a_linear_layer_touches_the_values_at_all_corners(layer: nn.Module, shape: tuple[int, ...]) -> None:
    weights(layer, 0)
    given_box = box(shape, 1.0, seed=1)
    corners = torch.tensor(list(itertools.product([0.0, 1.0], repeat=given_box.lower[0].numel())), dtype=torch.float64)
    found = through("layer", layer, given_box)
    for image in range(shape[0]):
        low, high = given_box.lower[image], given_box.upper[image]
        values = layer(low + corners.view(-1, *shape[1:]) * (high - low))
        torch.testing.assert_close(found.lower[image], values.amin(0))
        torch.testing.assert_close(found.upper[image], values.amax(0))


@given(st.integers(0, 10**6), st.floats(0, 3))
@settings(max_examples=40, deadline=None)
def test_no_point_inside_leaves_the_box(seed: int, width: float) -> None:
    layers = [
        weights(nn.Conv2d(2, 3, 3, padding=1), seed),
        weights(nn.Conv2d(2, 3, 3, padding="same", padding_mode="replicate"), seed),
        *ACTIVATIONS,
        nn.MaxPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Identity(),
        Normalise((0.5, 0.2), (0.3, 2.0)).double(),
    ]
    given_box = box((4, 2, 5, 5), width, seed)
    point = inside(given_box, seed + 1)
    for layer in layers:
        found = through("layer", layer, given_box)
        value = layer(point)
        assert (value >= found.lower - 1e-12).all()
        assert (value <= found.upper + 1e-12).all()


@pytest.mark.parametrize("name", ["entropic-cnn", "lenet5", "madry-cnn", "small-cnn", "mlp"])
@pytest.mark.parametrize("activation", ["relu", "silu", "gelu", "softplus"])
def test_every_layer_of_the_packages_networks_has_a_box(name: str, activation: str) -> None:
    torch.manual_seed(0)
    model = create(name, shape=(1, 8, 8), classes=3, activation=activation, mean=(0.1,), std=(0.3,)).double()
    given_box = Box(*(torch.rand(2, 1, 8, 8, dtype=torch.float64) + end for end in (0.0, 0.0)))
    given_box = Box(given_box.lower - 0.01, given_box.lower + 0.01)
    values = inside(given_box, 3)
    for layer_name, layer in model.named_children():
        given_box, values = through(layer_name, layer, given_box), layer(values)
        assert (values >= given_box.lower - 1e-12).all()
        assert (values <= given_box.upper + 1e-12).all()


def test_a_layer_without_a_rule_is_named() -> None:
    class Odd(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) ** 2

    for layer in (nn.BatchNorm1d(5), nn.Dropout(), Odd(5, 5)):
        with pytest.raises(ModelError, match=rf"'middle', a {type(layer).__name__}.*Known are.*Linear"):
            through("middle", layer, Box(torch.zeros(2, 5), torch.ones(2, 5)))


@pytest.mark.parametrize("layer", [nn.LeakyReLU(-0.1), nn.ELU(alpha=-1.0)], ids=repr)
def test_activations_that_fall_are_refused(layer: nn.Module) -> None:
    with pytest.raises(ModelError, match="0 or more"):
        through("act", layer, Box(torch.zeros(2, 5), torch.ones(2, 5)))
