import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retemper.information.rows import centred, rows_of, smaller_gram


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rows_are_one_an_image_and_never_in_half_precision() -> None:
    for dtype, expected in ((torch.float16, torch.float32), (torch.float64, torch.float64)):
        maps = features(3, 2, 4, 5).to(dtype)
        rows = rows_of(maps)
        assert rows.dtype == expected
        assert torch.equal(rows, maps.reshape(3, 40).to(expected))


@given(images=st.integers(1, 6), units=st.integers(1, 6), scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e30]))
@settings(max_examples=60, deadline=None)
def test_centred_rows_are_the_differences_from_the_mean_on_a_scale_of_about_one(
    images: int, units: int, scale: float
) -> None:
    rows = features(images, units)
    found = centred((scale * rows).float()).double()
    wanted = rows - rows.mean(0)
    assert found.mean(0).abs().max() < 1e-6
    torch.testing.assert_close(found * wanted.norm(), wanted * found.norm(), rtol=1e-4, atol=1e-5)
    assert (found == 0).all() if images == 1 else 0.1 < found.abs().max() < 1.1


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_equal_images_are_exactly_zero(size: float) -> None:
    image = size * features(1, 33).float()
    assert (centred(image.repeat(17, 1)) == 0).all()


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (4, 4)])
def test_the_smaller_gram_has_the_eigenvalues_of_the_other(shape: tuple[int, int]) -> None:
    rows = features(*shape)
    gram = smaller_gram(rows)
    assert len(gram) == min(shape)
    other = torch.linalg.eigvalsh(rows.T @ rows if len(rows) <= rows.shape[1] else rows @ rows.T)
    torch.testing.assert_close(torch.linalg.eigvalsh(gram), other[-min(shape) :])


def test_products_are_not_taken_in_half_precision_under_autocast() -> None:
    rows = features(5, 40).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = smaller_gram(rows)
    assert torch.equal(found, smaller_gram(rows))
