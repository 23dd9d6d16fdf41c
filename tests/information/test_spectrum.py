import pytest
import torch

from retemper.errors import DataError
from retemper.information import spectrum


def test_constant_directions_and_their_offset_are_found_however_they_are_turned() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.zeros(200, 6, dtype=torch.float64)
    points[:, :3] = torch.randn(200, 3, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 2.0, 1.0]) + 5
    points[:, 3], points[:, 4] = 3, 4
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    found = spectrum(points @ turn.T)
    assert found.constant == 3
    assert found.offset == pytest.approx(5)  # of 3 and 4; the mean of 5 lies where the points vary
    deviations = torch.linalg.eigvalsh(torch.cov(points.T, correction=0)).clamp_min(0).sqrt().flip(0)
    assert found.singular_values == pytest.approx(deviations.tolist(), abs=1e-7)


def test_unused_units_are_constant_but_at_zero() -> None:
    features = torch.cat([torch.eye(4), torch.zeros(4, 5)], dim=1)
    found = spectrum(features)
    assert found.constant == 9 - 3
    assert found.effective_rank == pytest.approx(3)
    assert found.offset == pytest.approx(0.5)  # the mean of four unit vectors is at right angles to their differences


def test_fewer_images_than_features() -> None:
    found = spectrum(torch.tensor([[1.0, 0.0, 2.0], [-1.0, 0.0, 2.0]]))
    assert found.constant == 2
    assert found.offset == pytest.approx(2)


def test_one_image_is_an_error() -> None:
    with pytest.raises(DataError, match="two images or more, but got 1"):
        spectrum(torch.ones(1, 3))


def test_features_that_are_all_constant_vary_in_no_direction() -> None:
    found = spectrum(torch.full((3, 5), 0.1, dtype=torch.float64))
    assert (found.features, found.constant) == (5, 5)
    assert found.offset == pytest.approx(0.1 * 5**0.5)
