import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retemper.information.hsic import gaussian_kernel, hsic, normalised_hsic


def rows(images: int, units: int, seed: int = 0) -> Tensor:
    return torch.randn(images, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loop_kernel(values: Tensor, bandwidth: float) -> list[list[float]]:
    units = values.shape[1]
    return [
        [
            math.exp(-sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / (2 * bandwidth**2 * units))
            for other in values.tolist()
        ]
        for one in values.tolist()
    ]


def loop_hsic(first: list[list[float]], second: list[list[float]]) -> float:
    """(N - 1)^-2 (sum_ij K_ij L_ij - 2/N sum_ijk K_ij L_ik + 1/N^2 sum K sum L), the trace written out."""
    images = range(len(first))
    together = sum(first[i][j] * second[i][j] for i in images for j in images)
    across = sum(sum(first[i]) * sum(second[i]) for i in images)
    apart = sum(map(sum, first)) * sum(map(sum, second))
    count = len(first)
    return (together - 2 * across / count + apart / count**2) / (count - 1) ** 2


@pytest.mark.parametrize("bandwidth", [0.5, 5.0])
def test_kernel_and_estimator_are_those_of_plain_loops(bandwidth: float) -> None:
    one, other = rows(7, 4), rows(7, 3, seed=1)
    kernels = gaussian_kernel(one, bandwidth), gaussian_kernel(other, bandwidth)
    loops = loop_kernel(one, bandwidth), loop_kernel(other, bandwidth)
    for found, expected in zip(kernels, loops, strict=True):
        torch.testing.assert_close(found + 1, torch.tensor(expected, dtype=torch.float64))
    assert hsic(*kernels).item() == pytest.approx(loop_hsic(*loops), rel=1e-8)


def test_maps_are_flattened_and_half_precision_is_widened() -> None:
    maps = rows(5, 12).view(5, 3, 2, 2)
    assert torch.equal(gaussian_kernel(maps, 1.0), gaussian_kernel(maps.flatten(1), 1.0))
    assert gaussian_kernel(maps.bfloat16(), 1.0).dtype == torch.float32


def test_the_normalised_form_is_a_sum_over_pairs_of_directions() -> None:
    """tr(R_K R_L) = sum_ij (u_i . v_j)^2 a_i / (a_i + r) b_j / (b_j + r), over eigenvectors and eigenvalues."""
    kernels = gaussian_kernel(rows(6, 4), 1.0), gaussian_kernel(rows(6, 3, seed=1), 1.0)
    centring = torch.eye(6, dtype=torch.float64) - 1 / 6
    (a, u), (b, v) = (torch.linalg.eigh(centring @ kernel @ centring) for kernel in kernels)
    overlaps = (u.T @ v).square()
    expected = (a / (a + 6e-5)) @ overlaps @ (b / (b + 6e-5))
    torch.testing.assert_close(normalised_hsic(*kernels), expected, rtol=1e-8, atol=0)


@given(st.integers(2, 8), st.integers(1, 5), st.integers(0, 10**6), st.floats(0.1, 10))
def test_dependence_is_symmetric_never_negative_and_at_most_one_less_than_the_images(
    images: int, units: int, seed: int, bandwidth: float
) -> None:
    one, other = (gaussian_kernel(rows(images, units, seed + place), bandwidth) for place in (0, 1))
    assert hsic(one, other).item() == pytest.approx(hsic(other, one).item(), rel=1e-9, abs=1e-15)
    assert hsic(one, other).item() >= -1e-15
    together = normalised_hsic(one, other).item()
    assert together == pytest.approx(normalised_hsic(other, one).item(), rel=1e-6, abs=1e-9)
    assert -1e-9 <= together <= images - 1 + 1e-9
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    assert hsic(one[order][:, order], other[order][:, order]).item() == pytest.approx(
        hsic(one, other).item(), abs=1e-12
    )


@pytest.mark.parametrize("dependence", [hsic, normalised_hsic])
def test_what_is_constant_depends_on_nothing(dependence: object) -> None:
    constant = gaussian_kernel(torch.full((6, 3), 7.3), 1.0)
    other = gaussian_kernel(rows(6, 3).float(), 1.0)
    assert callable(dependence)
    assert abs(dependence(constant, other).item()) < 1e-6
    assert abs(dependence(constant[:1, :1], other[:1, :1]).item()) < 1e-6


def test_float32_is_near_float64_at_the_size_of_a_batch() -> None:
    values = torch.rand(128, 3072, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    outputs = 3 * values[:, :512].relu() @ rows(512, 64) / 512
    exact, single = (
        normalised_hsic(gaussian_kernel(values.to(dtype), 5.0), gaussian_kernel(outputs.to(dtype), 5.0)).item()
        for dtype in (torch.float64, torch.float32)
    )
    assert single == pytest.approx(exact, rel=1e-2)


def test_images_that_are_close_keep_their_digits() -> None:
    one, other = rows(8, 3), rows(8, 3, seed=1)
    exact, single = (
        hsic(gaussian_kernel(one.to(dtype), 5.0), gaussian_kernel(1e-5 * other.to(dtype), 5.0)).item()
        for dtype in (torch.float64, torch.float32)
    )
    assert single == pytest.approx(exact, rel=1e-4)


def test_first_and_second_derivatives_are_those_of_the_values() -> None:
    fixed = gaussian_kernel(rows(4, 3), 1.0)
    leaf = rows(4, 2, seed=1).requires_grad_()
    for dependence in (hsic, normalised_hsic):

        def value(leaf: Tensor, dependence=dependence) -> Tensor:  # type: ignore[no-untyped-def] # binds the loop's
            return dependence(fixed, gaussian_kernel(leaf, 1.0))

        assert torch.autograd.gradcheck(value, leaf)
        assert torch.autograd.gradgradcheck(value, leaf)


def test_nothing_is_raised_where_a_layer_has_diverged() -> None:
    broken = gaussian_kernel(torch.full((4, 2), math.nan), 1.0)
    assert normalised_hsic(broken, gaussian_kernel(rows(4, 2).float(), 1.0)).isnan()
