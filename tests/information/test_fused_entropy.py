import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from retemper.information import fused_entropy as module
from retemper.information.fused_entropy import fused_entropy, plain_entropy

Layout = Callable[[Tensor], Tensor]
LAYOUTS: dict[str, Layout] = {
    "contiguous": lambda images: images.contiguous(),
    "channels last": lambda images: images.contiguous(memory_format=torch.channels_last),
    "transposed": lambda images: images.transpose(1, 3),
    "images within channels": lambda images: images.transpose(0, 1).contiguous().transpose(0, 1),
    "images innermost": lambda images: images.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "every second image within channels": lambda images: images.transpose(0, 1).contiguous().transpose(0, 1)[::2],
    "a sequence": lambda images: images.flatten(2).transpose(0, 1).contiguous().transpose(0, 1),
    "one image": lambda images: images[:1],
    "every second image": lambda images: images.contiguous(memory_format=torch.channels_last)[::2],
    "every second column": lambda images: images[..., ::2],
    "dense": lambda images: images.flatten(1),
    "one row for all": lambda images: images[:1].expand(5, -1, -1, -1),
}


def draw(dtype: torch.dtype = torch.float64, images: int = 6) -> Tensor:
    """Activations of both signs, half of them zero, one image all zero."""
    activations = torch.randn(images, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    activations[:, :, ::2] = 0
    activations[2] = 0
    return activations.to(dtype)


def away_from_zero() -> Tensor:
    values = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (values + 0.3 * values.sign()).requires_grad_()


def gradient(entropy: Callable[[Tensor], Tensor], activations: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(entropy(activations.requires_grad_()), activations)
    return found


def loop_gradient(rows: list[list[float]]) -> list[list[float]]:
    slopes = []
    for row in rows:
        total = sum(map(abs, row))
        logs = [math.log(abs(value) / total) if value else 0.0 for value in row]
        entropy = -sum(abs(value) / total * log for value, log in zip(row, logs, strict=True) if value)
        signs = [(value > 0) - (value < 0) for value in row]
        slopes.append(
            [sign * (-log - entropy) / (total or 1) / len(rows) for sign, log in zip(signs, logs, strict=True)]
        )
    return slopes


@pytest.fixture(params=[1, 100, 2**17], autouse=True)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than an image, one and a part, and all at once."""
    monkeypatch.setattr(module, "CHUNK", request.param)


def test_the_gradient_agrees_with_a_plain_loop() -> None:
    activations = draw()
    expected = torch.tensor(loop_gradient(activations.flatten(1).tolist()), dtype=torch.float64)
    assert torch.allclose(gradient(fused_entropy, activations).flatten(1), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_value_and_gradient_are_those_of_the_definition_in_any_layout(
    layout: str, dtype: torch.dtype, tolerance: float
) -> None:
    activations = LAYOUTS[layout](draw(dtype))
    assert float(fused_entropy(activations)) == pytest.approx(float(plain_entropy(activations)), rel=tolerance)
    expected = gradient(plain_entropy, activations.clone())
    found = gradient(fused_entropy, activations)
    assert torch.allclose(found, expected, rtol=100 * tolerance, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_the_gradient_lies_in_memory_as_the_activations_do(layout: str) -> None:
    activations = LAYOUTS[layout](draw(torch.float32))
    assert gradient(fused_entropy, activations).stride() == activations.stride()


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_half_precision_rounds_the_gradient_three_times_and_not_the_value(dtype: torch.dtype, rounding: float) -> None:
    activations = draw(dtype)
    assert float(fused_entropy(activations)) == pytest.approx(float(plain_entropy(activations.double())), rel=1e-6)
    expected = gradient(plain_entropy, activations.double())
    found = gradient(fused_entropy, activations)
    assert found.dtype == dtype
    # By how much 1 + rounding / 2 can be missed in the slopes, in what multiplies them, and in the product.
    assert torch.allclose(found.double(), expected, rtol=2 * rounding, atol=2**-24)


def test_first_and_second_derivatives_are_those_of_the_value() -> None:
    assert torch.autograd.gradcheck(fused_entropy, (away_from_zero(),))
    assert torch.autograd.gradgradcheck(fused_entropy, (away_from_zero(),))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0, 1e-33])
def test_images_that_are_all_zero_or_nearly_have_neither_entropy_nor_slopes_nor_nan(
    dtype: torch.dtype, size: float
) -> None:
    activations = torch.full((3, 5), size, dtype=dtype, requires_grad=True)
    entropy = fused_entropy(activations)
    assert entropy.item() == 0
    (first,) = torch.autograd.grad(entropy, activations, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), activations)
    for found in (gradient(fused_entropy, activations.detach()), first, second):
        assert torch.equal(found, torch.zeros_like(found))


def test_a_graph_that_is_kept_gives_the_same_gradient_twice() -> None:
    activations = draw().requires_grad_()
    entropy = 3 * fused_entropy(activations)
    once, twice = (torch.autograd.grad(entropy, activations, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(once, twice)


def test_without_gradients_there_is_no_graph() -> None:
    activations = draw().requires_grad_()
    with torch.no_grad():
        found = fused_entropy(activations)
    assert not found.requires_grad
    assert found.item() == fused_entropy(activations).item()
