import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import hadamard
from torch import nn

from retemper.information import effective_rank, profile
from retemper.information.gram import effective_rank as rank_of
from retemper.information.gram import gram
from retemper.information.rank import largest_rank_entropy, rank_entropy


def features(images: int, units: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(images, units, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (12, 12)])
def test_it_is_the_entropy_of_the_variances_by_scipy(shape: tuple[int, int]) -> None:
    rows = features(*shape) + 3
    centred = rows.numpy() - rows.numpy().mean(0)
    variances = np.linalg.svd(centred, compute_uv=False) ** 2
    assert float(effective_rank(rows)) == pytest.approx(math.exp(stats.entropy(variances)), rel=1e-10)


@pytest.mark.parametrize("variances", [[1.0], [1.0, 1.0, 1.0], [4.0, 1.0], [9.0, 3.0, 1.0, 0.0]])
def test_orthogonal_directions_of_known_variance(variances: list[float]) -> None:
    # A pair of images at plus and minus one length along each axis, so that the axes are the directions.
    axes = torch.diag(torch.tensor(variances, dtype=torch.float64).sqrt())
    rotation, _ = torch.linalg.qr(features(len(variances), len(variances)))
    rows = torch.cat([axes, -axes]) @ rotation + 7
    shares = [variance / sum(variances) for variance in variances if variance]
    expected = math.prod(share**-share for share in shares)
    assert float(effective_rank(rows)) == pytest.approx(expected, rel=1e-10)


def test_isotropic_features_use_almost_all_directions() -> None:
    rank = float(effective_rank(features(20_000, 20)))
    assert 19.9 < rank <= 20


def test_features_on_a_line_have_rank_one() -> None:
    line = torch.randn(50, 1, generator=torch.Generator().manual_seed(0)) * torch.ones(1, 9)
    assert float(effective_rank(line)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_images_have_rank_zero(size: float, dtype: torch.dtype) -> None:
    image = size * torch.randn(1, 33, generator=torch.Generator().manual_seed(0), dtype=dtype)
    assert float(effective_rank(image.repeat(17, 1))) == 0
    assert float(effective_rank(image)) == 0


@given(
    images=st.integers(2, 8), units=st.integers(1, 8), seed=st.integers(0, 1000), scale=st.sampled_from([1e-12, 1e9])
)
@settings(max_examples=60, deadline=None)
def test_it_is_bounded_and_keeps_under_scaling_shifts_and_shuffling(
    images: int, units: int, seed: int, scale: float
) -> None:
    rows = features(images, units, seed)
    rank = float(effective_rank(rows))
    assert 1 - 1e-9 <= rank <= min(images - 1, units) + 1e-9
    generator = torch.Generator().manual_seed(seed)
    shuffled = rows[torch.randperm(images, generator=generator)][:, torch.randperm(units, generator=generator)]
    assert float(effective_rank(scale * shuffled)) == pytest.approx(rank, rel=1e-9)
    assert float(effective_rank(rows + 5)) == pytest.approx(rank, rel=1e-9)


def test_maps_are_flattened_and_half_precision_is_read() -> None:
    maps = features(10, 24).to(torch.bfloat16)
    assert torch.equal(effective_rank(maps.view(10, 2, 3, 4)), effective_rank(maps.double()))


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (12, 12), (2, 5)])
def test_the_term_is_the_logarithm_of_the_profiles_figure(shape: tuple[int, int]) -> None:
    rows = features(*shape).relu()
    assert float(rank_entropy(rows)) == pytest.approx(math.log(float(rank_of(gram([rows])).figure)), rel=1e-10)
    assert float(rank_entropy(rows.float())) == pytest.approx(math.log(float(effective_rank(rows))), rel=1e-5)
    (layer,) = profile(nn.Sequential(nn.ReLU()), [(rows.float(), torch.zeros(len(rows)).long())], replicates=0)
    assert float(rank_entropy(rows.float())) == pytest.approx(math.log(layer.effective_rank), rel=1e-5)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_an_orthogonal_design_has_the_largest_entropy_and_no_slope(copies: int) -> None:
    rows = torch.from_numpy(hadamard(8)[:, 1:]).double().repeat(1, copies).requires_grad_()
    value = rank_entropy(rows)
    value.backward()
    assert value.item() == pytest.approx(math.log(7), rel=1e-12)
    assert largest_rank_entropy(8, 7 * copies) == math.log(7)
    assert rows.grad is not None
    assert rows.grad.abs().max() < 1e-12


def test_the_largest_entropy_of_one_image_or_one_unit_is_zero() -> None:
    assert largest_rank_entropy(1, 9) == largest_rank_entropy(9, 1) == largest_rank_entropy(2, 9) == 0
    assert largest_rank_entropy(9, 3) == math.log(3)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("variances", [[4.0, 4.0, 1.0], [1.0, 1.0, 1.0], [4.0, 1.0, 0.0], [4.0, 0.0, 0.0]])
def test_gradients_hold_where_singular_values_are_equal_or_zero(variances: list[float], wide: bool) -> None:
    design, _ = torch.linalg.qr(torch.cat([torch.ones(7, 1, dtype=torch.float64), features(7, 3)], 1))
    rows = design[:, 1:] * torch.tensor(variances, dtype=torch.float64).sqrt()
    if wide:
        rotation, _ = torch.linalg.qr(features(10, 3))
        rows = rows @ rotation.T
    # Next to a singular value s of zero the value goes like s^2 log s: differences over 1e-6 are 3e-5 off.
    tolerance = 1e-4 if wide or 0 in variances else 1e-8
    assert torch.autograd.gradcheck(rank_entropy, (rows.requires_grad_(),), atol=tolerance)


@pytest.mark.parametrize("rows", [torch.zeros(6, 4), torch.ones(1, 4), torch.full((6, 9), 1e-3), torch.rand(6, 1)])
def test_what_has_no_two_directions_has_no_entropy_and_no_slope(rows: torch.Tensor) -> None:
    rows = rows.requires_grad_()
    value = rank_entropy(rows)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert rows.grad is not None
    assert rows.grad.abs().max() < 1e-5


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e9, 1e30])
def test_the_term_neither_underflows_nor_overflows(scale: float) -> None:
    rows = features(9, 5).float()
    assert float(rank_entropy(scale * rows)) == pytest.approx(float(rank_entropy(rows)), rel=1e-5)


@pytest.mark.parametrize("units", [10, 500])
def test_the_term_keeps_its_digits_under_autocast(units: int) -> None:
    rows = features(40, units).float() + 3
    with torch.autocast("cpu", torch.bfloat16):
        value = rank_entropy(rows)
    assert float(value) == pytest.approx(float(rank_entropy(rows.double())), rel=1e-5)


def test_what_is_not_finite_stays_so_and_is_no_error_of_the_decomposition() -> None:
    for broken in (torch.nan, torch.inf):
        rows = features(5, 3)
        rows[2, 1] = broken
        assert rank_entropy(rows).isnan()
