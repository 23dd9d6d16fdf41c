import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retemper.information import effective_rank


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
