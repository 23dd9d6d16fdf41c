import pytest
import torch
from torch import Tensor, nn

from retemper.certification.layers import KNOWN, layer_bound
from retemper.errors import ModelError
from retemper.models import Normalise
from retemper.models.lipschitz import MaxMin
from retemper.models.silu import SiLU

LAYERS = [
    nn.Linear(64, 5),
    nn.Conv2d(4, 3, 3, stride=2, padding=1),
    Normalise([0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 2.0, 1.0]),
    nn.BatchNorm2d(4),
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, stride=1, padding=1),
    nn.MaxPool2d(2, stride=1, dilation=2),
    nn.MaxPool2d(3, stride=2, ceil_mode=True),
    nn.AvgPool2d(2),
    nn.AvgPool2d(3, stride=1, padding=1),
    nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    nn.AvgPool2d(3, ceil_mode=True),
    nn.Identity(),
    nn.Flatten(),
    nn.Dropout(),
    nn.Dropout2d(),
    nn.PixelShuffle(2),
    nn.PixelUnshuffle(2),
    nn.ZeroPad2d((1, 0, 2, -1)),
    MaxMin(),
    nn.ReLU(),
    nn.Tanh(),
    nn.Sigmoid(),
    nn.Softplus(beta=3),
    nn.LeakyReLU(-1.5),
    nn.ELU(alpha=2.5),
    nn.SiLU(),
    SiLU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
]


def inputs_of(layer: nn.Module) -> Tensor:
    images = 2 * torch.randn(20, 4, 4, 4, dtype=torch.float64)
    return images.flatten(1) if isinstance(layer, nn.Linear) else images


def filled(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.BatchNorm2d):
        layer.weight.data, layer.running_var = torch.tensor([1.0, -3.0, 0.5, 2.0]), torch.tensor([1.0, 0.5, 0.1, 9.0])
    return layer.double().eval()


def test_every_known_layer_is_tried_here() -> None:
    assert {type(layer) for layer in LAYERS} | {nn.BatchNorm1d} == set(KNOWN)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_no_jacobian_is_larger_than_the_bound(layer: nn.Module) -> None:
    torch.manual_seed(0)
    layer = filled(layer)
    bound, largest = layer_bound(layer), 0.0
    for image in inputs_of(layer):
        jacobian = torch.autograd.functional.jacobian(layer, image[None])
        matrix = jacobian.reshape(-1, image.numel())
        largest = max(largest, float(torch.linalg.matrix_norm(matrix, ord=2)))
    assert largest <= bound * (1 + 1e-12)
    assert largest > 0.2 * bound


@pytest.mark.parametrize("layer", [nn.SiLU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.Sigmoid(), nn.ELU(2.5)])
def test_the_steepest_slope_on_a_fine_line_is_just_below_the_bound(layer: nn.Module) -> None:
    line = torch.linspace(-6, 6, 100_001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(layer(line).sum(), line)
    assert 0.99 * layer_bound(layer) <= float(slopes.abs().max()) <= layer_bound(layer)


def test_batch_normalisation_of_vectors_is_a_diagonal_matrix() -> None:
    layer = nn.BatchNorm1d(2, eps=0.0)
    layer.weight.data, layer.running_var = torch.tensor([3.0, -8.0]), torch.tensor([1.0, 4.0])
    assert layer_bound(layer) == pytest.approx(4)


class Doubled(nn.ReLU):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * input.relu()


class DoubledConvolution(nn.Conv2d):
    def _conv_forward(self, *arguments: object) -> Tensor:
        return 2 * super()._conv_forward(*arguments)


def hooked() -> nn.Module:
    layer = nn.ReLU()
    layer.register_forward_hook(lambda _layer, _inputs, output: 2 * output)
    return layer


def patched() -> nn.Module:
    layer = nn.ReLU()
    layer.forward = lambda inputs: 2 * inputs
    return layer


@pytest.mark.parametrize(
    "layer", [nn.Softmax(1), Doubled(), DoubledConvolution(1, 1, 1), hooked(), patched()], ids=lambda layer: str(layer)
)
def test_layers_that_compute_something_else_are_refused_by_name(layer: nn.Module) -> None:
    with pytest.raises(ModelError, match=f"known for {type(layer).__name__}.*Known are.*Conv2d"):
        layer_bound(layer)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.BatchNorm2d(2, track_running_stats=False), "mixes the images"),
        (nn.MaxPool2d(2, return_indices=True), "indices"),
        (nn.AvgPool2d(2, divisor_override=1), "another number"),
    ],
)
def test_layers_without_a_constant_are_refused(layer: nn.Module, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        layer_bound(layer)


def test_weights_that_are_not_finite_are_refused() -> None:
    layer = nn.BatchNorm2d(1)
    layer.running_var.fill_(torch.nan)
    with pytest.raises(ModelError, match="not finite"):
        layer_bound(layer)


@pytest.mark.parametrize(
    "layer", [nn.Softplus(threshold=0.5), nn.Softplus(threshold=5), nn.Softplus(beta=0.01), nn.Softplus(beta=0)]
)
def test_a_softplus_that_jumps_has_no_bound(layer: nn.Module) -> None:
    with pytest.raises(ModelError, match="jumps at"):
        layer_bound(layer)


def test_a_softplus_as_torch_makes_it_has_one() -> None:
    assert layer_bound(nn.Softplus()) == 1
    assert layer_bound(nn.Softplus(beta=4, threshold=30)) == 1
