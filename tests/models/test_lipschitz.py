from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.errors import SettingError
from retemper.models import create, load, save
from retemper.models.lipschitz import SCALE, MaxMin, cayley, orthogonal_convolution, orthogonal_linear

SIZES = st.integers(1, 7)


def unrolled(layer: nn.Module, *shape: int) -> Tensor:
    """The matrix of a linear map, a column an entry of the input."""
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    units = torch.eye(zero.numel(), dtype=torch.float64).view(-1, *shape)
    with torch.no_grad():
        return (layer(units) - layer(zero)).flatten(1).T


@given(rows=SIZES, columns=SIZES, seed=st.integers(0, 99), size=st.sampled_from([0.0, 0.01, 1.0, 30.0]))
@settings(deadline=None, max_examples=30)
def test_the_columns_of_a_cayley_transform_are_orthonormal(rows: int, columns: int, seed: int, size: float) -> None:
    torch.manual_seed(seed)
    rows = max(rows, columns)
    matrix = cayley(size * torch.randn(2, rows, columns, dtype=torch.float64))
    expected = torch.eye(columns, dtype=torch.float64).expand(2, -1, -1)
    torch.testing.assert_close(matrix.mT @ matrix, expected, atol=1e-10, rtol=0)


@given(inputs=SIZES, outputs=SIZES, kernel=st.sampled_from([1, 3, 5]), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_every_singular_value_of_the_unrolled_convolution_is_one(
    inputs: int, outputs: int, kernel: int, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = orthogonal_convolution(inputs, outputs, kernel).double()
    values = torch.linalg.svdvals(unrolled(layer, inputs, 4, 5))
    torch.testing.assert_close(values, torch.ones_like(values), atol=1e-10, rtol=0)


def test_the_convolution_mixes_pixels_and_channels() -> None:
    torch.manual_seed(0)
    kernel = orthogonal_convolution(4, 4).weight
    assert kernel.shape == (4, 4, 3, 3)
    assert (kernel.abs().amax((0, 1)) > 0.01).all()


def test_convolutions_of_even_size_are_refused() -> None:
    with pytest.raises(SettingError, match="odd size"):
        orthogonal_convolution(3, 3, 2)


@pytest.mark.parametrize(("inputs", "outputs"), [(9, 4), (4, 9), (5, 5)])
def test_every_singular_value_of_the_linear_layer_is_its_scale(inputs: int, outputs: int) -> None:
    values = torch.linalg.svdvals(orthogonal_linear(inputs, outputs, 3.0).double().weight)
    torch.testing.assert_close(values, torch.full_like(values, 3.0))


def test_maxmin_sorts_pairs_of_channels_and_its_gradient_is_a_permutation() -> None:
    inputs = torch.randn(5, 6, 2, 2, dtype=torch.float64)
    outputs = MaxMin()(inputs)
    for image, result in zip(inputs, outputs, strict=True):
        for channel in range(3):
            for row in range(2):
                for column in range(2):
                    pair = sorted([image[channel, row, column].item(), image[channel + 3, row, column].item()])
                    assert [result[channel + 3, row, column].item(), result[channel, row, column].item()] == pair
    jacobian = torch.autograd.functional.jacobian(MaxMin(), inputs[:1]).reshape(24, 24)
    torch.testing.assert_close(jacobian @ jacobian.T, torch.eye(24, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_gradient_of_the_network_is_longer_than_it_may_be(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    model = create("lipschitz-cnn", shape=(1, 8, 8), classes=3, mean=(0.5,), std=(0.25,)).to(dtype)
    inputs = torch.rand(6, 1, 8, 8, dtype=dtype, requires_grad=True)
    for one, other in ((0, 1), (2, 1)):
        scores = model(inputs)
        (gradient,) = torch.autograd.grad((scores[:, one] - scores[:, other]).sum(), inputs)
        lengths = gradient.flatten(1).norm(dim=1)
        most = 2**0.5 * SCALE / 0.25
        assert (lengths <= most * (1 + 1e-5)).all()
        assert (lengths > most / 20).all()


def test_the_network_is_read_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = create("lipschitz-cnn", shape=(1, 8, 8), classes=3)
    save(model, path)
    inputs = torch.rand(2, 1, 8, 8)
    assert torch.equal(load(path)(inputs), model(inputs))


def test_half_precision_around_the_network_leaves_its_weights_orthogonal() -> None:
    layer = orthogonal_convolution(8, 8)
    expected = layer.weight
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.weight, expected)


def test_the_network_has_its_own_activation() -> None:
    with pytest.raises(SettingError, match=r"MaxMin.*gelu"):
        create("lipschitz-cnn", shape=(1, 8, 8), classes=3, activation="gelu")


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_an_odd_number_of_channels_makes_no_pairs(channels: int) -> None:
    with pytest.raises(SettingError, match=f"even number.*got {channels}"):
        MaxMin()(torch.rand(2, channels, 4, 4))
