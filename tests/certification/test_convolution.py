import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.certification.convolution import GRID, by_frequencies, by_taps, convolution_bound
from retemper.errors import ModelError


def norm(layer: nn.Conv2d, height: int, width: int) -> float:
    """The largest singular value of the unrolled convolution on images of this size."""
    shape = (layer.in_channels, height, width)
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    units = torch.eye(zero.numel(), dtype=torch.float64).view(-1, *shape)
    with torch.no_grad():
        return float(torch.linalg.matrix_norm((layer(units) - layer(zero)).flatten(1), ord=2))


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Conv2d:
    groups = draw(st.sampled_from([1, 1, 2]))
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    torch.manual_seed(draw(st.integers(0, 999)))
    return nn.Conv2d(
        groups * draw(st.integers(1, 3)),
        groups * draw(st.integers(1, 3)),
        (rows, columns),
        stride=draw(st.sampled_from([1, 1, 2, (3, 1)])),
        padding=draw(st.sampled_from([0, 1, 2])),
        dilation=draw(st.sampled_from([1, 1, 2])),
        groups=groups,
    ).double()


@given(layer=convolutions(), height=st.integers(7, 10), width=st.integers(7, 10))
@settings(deadline=None, max_examples=40)
def test_no_convolution_with_zeros_around_lengthens_by_more_than_its_bound(
    layer: nn.Conv2d, height: int, width: int
) -> None:
    assert norm(layer, height, width) <= convolution_bound(layer) * (1 + 1e-12)


@given(layer=convolutions(), padding=st.sampled_from([0, 1]), size=st.integers(7, 9))
@settings(deadline=None, max_examples=20)
def test_nor_does_one_that_wraps_around(layer: nn.Conv2d, padding: int, size: int) -> None:
    layer.padding_mode = "circular"
    padding = padding if min(layer.kernel_size) > 2 * padding else 0
    layer.padding, layer._reversed_padding_repeated_twice = (padding, padding), [padding] * 4
    assert norm(layer, size, size) <= convolution_bound(layer) * (1 + 1e-12)


@pytest.mark.parametrize("padding_mode", ["circular", "zeros"])
def test_the_bound_is_near_on_large_images(padding_mode: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3, padding=1, padding_mode=padding_mode).double()
    assert convolution_bound(layer) <= 1.02 * norm(layer, 16, 16)


def test_the_bound_of_a_stride_is_not_that_of_stride_one() -> None:
    # Mean of 2 x 2 pixels: 1/2 where blocks do not overlap, 1 where they do.
    layer = nn.Conv2d(1, 1, 2, stride=2, bias=False)
    nn.init.constant_(layer.weight, 0.25)
    assert convolution_bound(layer) == pytest.approx(0.5)
    layer.stride = (1, 1)
    assert convolution_bound(layer) == pytest.approx(1)


def response(kernel: Tensor, rows: float, columns: float) -> Tensor:
    """The transfer matrix at one pair of frequencies, as a plain sum over taps."""
    total = torch.zeros(kernel.shape[:2], dtype=torch.complex128)
    for row in range(kernel.shape[2]):
        for column in range(kernel.shape[3]):
            phase = torch.tensor(-1j * (rows * row + columns * column), dtype=torch.complex128)
            total += kernel[:, :, row, column] * phase.exp()
    return total


def test_both_ways_bound_the_response_between_the_frequencies_of_the_grid() -> None:
    torch.manual_seed(3)
    kernel = torch.randn(3, 2, 3, 4, dtype=torch.float64)
    largest = max(
        float(torch.linalg.matrix_norm(response(kernel, rows, columns), ord=2))
        for rows, columns in (7 * torch.rand(3000, 2)).tolist()
    )
    assert largest <= by_frequencies(kernel[None]) <= 1.02 * largest
    assert largest <= by_taps(kernel[None])


def test_what_lies_between_frequencies_is_counted() -> None:
    # Two outputs cos(w0 k) and sin(w0 k): the response is largest at w0, halfway between two points of the grid.
    peak = 33 * torch.pi / GRID
    angles = torch.arange(16, dtype=torch.float64) * peak
    kernel = torch.stack([angles.cos(), angles.sin()])[:, None, None, :]
    at_peak = float(torch.linalg.matrix_norm(response(kernel, 0, peak), ord=2))
    on_grid = max(
        float(torch.linalg.matrix_norm(response(kernel, 0, 2 * torch.pi * point / GRID), ord=2))
        for point in range(GRID)
    )
    assert on_grid < 0.99 * at_peak
    assert at_peak <= by_frequencies(kernel[None])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"padding_mode": "reflect", "padding": 1}, "reflect"),
        ({"padding_mode": "circular", "padding": 2}, "at most the kernel's size less one"),
    ],
)
def test_padding_without_a_bound_is_refused(settings: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        convolution_bound(nn.Conv2d(1, 1, 3, **settings))
