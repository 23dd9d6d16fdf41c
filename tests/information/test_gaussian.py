import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard
from torch import Tensor

from retemper.information.gaussian import FLOOR, RIDGE, gaussian_entropy, largest_gaussian


def features(images: int, units: int, seed: int = 0) -> Tensor:
    return torch.randn(images, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(images: int, units: int) -> Tensor:
    """A design of mean zero whose covariance is the identity."""
    basis, _ = torch.linalg.qr(torch.cat([torch.ones(images, 1, dtype=torch.float64), features(images, units)], 1))
    return basis[:, 1:] * images**0.5


@pytest.mark.parametrize("correlation", [0.0, 0.5, -0.1, 0.99])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e6])
def test_units_of_equal_variance_and_correlation_have_a_known_entropy(correlation: float, scale: float) -> None:
    units = 6
    known = torch.full((units, units), correlation, dtype=torch.float64).fill_diagonal_(1)
    rows = orthogonal(40, units) @ torch.linalg.cholesky(known).T
    eigenvalues = [1 + (units - 1) * correlation] + (units - 1) * [1 - correlation]
    expected = sum(math.log(1 + value / (1 + FLOOR) / RIDGE) for value in eigenvalues) / 2
    assert float(gaussian_entropy(scale * (rows + 3))) == pytest.approx(expected, rel=1e-9)


def test_many_images_drawn_from_a_gaussian_have_the_capacity_of_the_channel() -> None:
    # What two Gaussian vectors know of each other: here the units, and themselves with noise.
    known = np.array([[1.0, 0.6], [0.6, 1.0]])
    rows = np.random.default_rng(0).multivariate_normal([5, -2], known, 200_000)
    joint = np.block([[known, known], [known, known + RIDGE * np.eye(2)]])
    information = (
        np.linalg.slogdet(joint[:2, :2])[1] + np.linalg.slogdet(joint[2:, 2:])[1] - np.linalg.slogdet(joint)[1]
    ) / 2
    assert float(gaussian_entropy(torch.from_numpy(rows))) == pytest.approx(information, rel=5e-3)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_the_maximum_is_reached_with_any_number_of_units(copies: int) -> None:
    # Seven uncorrelated units over eight images span all that centring leaves.
    rows = torch.from_numpy(hadamard(8)[:, 1:]).double().repeat(1, copies)
    value = float(gaussian_entropy(rows + 1))
    assert value == pytest.approx(3.5 * math.log(1 + copies / (1 + FLOOR) / RIDGE), rel=1e-12)
    assert value == pytest.approx(largest_gaussian(8, 7 * copies), rel=1e-12)
    assert float(gaussian_entropy(rows[:, :3])) == pytest.approx(largest_gaussian(8, 3), rel=1e-12)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (6, 6), (2, 1), (1, 4)])
def test_primal_and_dual_form_agree(shape: tuple[int, int]) -> None:
    rows = features(*shape).numpy() + 2
    variances = rows.var(0)
    standardised = (rows - rows.mean(0)) / np.sqrt(variances + FLOOR * variances.mean() + 1e-300)
    for covariance in (standardised.T @ standardised, standardised @ standardised.T):
        expected = np.linalg.slogdet(np.eye(len(covariance)) + covariance / shape[0] / RIDGE)[1] / 2
        assert float(gaussian_entropy(torch.from_numpy(rows))) == pytest.approx(expected, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("shape", [(4, 30_000), (300, 4)])
def test_it_costs_the_smaller_of_images_and_units(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, logdet = [], torch.logdet
    monkeypatch.setattr(torch, "logdet", lambda matrix: sizes.append(tuple(matrix.shape)) or logdet(matrix))
    gaussian_entropy(features(*shape).float())
    assert sizes == [(4, 4)]


def test_constant_units_count_nothing_and_leave_the_others_their_weight() -> None:
    rows = orthogonal(20, 4)
    constant = torch.cat([rows, torch.full((20, 4), 7.0)], 1)
    # Only the mean variance, from which the floor is taken, is half as large.
    expected = 2 * math.log(1 + 1 / (1 + FLOOR / 2) / RIDGE)
    assert float(gaussian_entropy(constant)) == pytest.approx(expected, rel=1e-9)


def test_a_unit_counts_alike_on_any_scale_that_is_not_near_the_floor() -> None:
    rows = features(30, 6)
    moved = rows * torch.tensor([1.0, 2.0, 0.7, 1.0, 3.0, 1.0])
    assert float(gaussian_entropy(moved)) == pytest.approx(float(gaussian_entropy(rows)), rel=0.01)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-12])
def test_a_unit_that_hardly_varies_has_a_bounded_gradient(size: float) -> None:
    rows = features(20, 5)
    rows[:, 2] = 0
    rows[3, 2], rows[8, 2] = size, 2 * size
    rows.requires_grad_()
    gaussian_entropy(rows).backward()
    assert rows.grad is not None
    assert 0 < rows.grad[:, 2].abs().max() < 1 / math.sqrt(FLOOR)


@pytest.mark.parametrize("shape", [(6, 4), (4, 9)])
def test_gradients_of_both_forms_are_those_of_the_value(shape: tuple[int, int]) -> None:
    rows = features(*shape)
    rows[:, 1] = 3.0  # a dead unit
    assert torch.autograd.gradcheck(gaussian_entropy, (rows.requires_grad_(),))
    assert torch.autograd.gradgradcheck(gaussian_entropy, (rows,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("units", [10, 500])
def test_it_keeps_its_digits_under_autocast(dtype: torch.dtype, units: int) -> None:
    rows = features(40, units).float() + 3
    with torch.autocast("cpu", dtype):
        value = gaussian_entropy(rows)
    assert float(value) == pytest.approx(float(gaussian_entropy(rows.double())), rel=1e-5)


def test_what_is_not_finite_stays_so() -> None:
    rows = features(5, 3)
    rows[2, 1] = torch.nan
    assert gaussian_entropy(rows).isnan()


@given(images=st.integers(1, 30), units=st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_the_maximum_grows_with_images_and_units(images: int, units: int) -> None:
    largest = largest_gaussian(images, units)
    assert (largest > 0) == (images > 1)
    assert largest <= largest_gaussian(images + 1, units)
    assert largest <= largest_gaussian(images, units + 1)
