import pytest
import torch

from retemper.objectives.every_nth import every_nth


def images() -> torch.Tensor:
    values = torch.randn(7, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return values.contiguous(memory_format=torch.channels_last).requires_grad_()


@pytest.mark.parametrize(("first", "every"), [(0, 1), (1, 2), (2, 3), (6, 7)])
def test_it_is_indexing_with_its_derivatives(first: int, every: int) -> None:
    batch = images()
    assert torch.equal(every_nth(batch, first, every), batch[first::every])

    def square(batch: torch.Tensor) -> torch.Tensor:
        return every_nth(batch, first, every).square()

    assert torch.autograd.gradcheck(square, (batch,))
    assert torch.autograd.gradgradcheck(square, (batch,))


def test_its_gradient_is_channels_last_where_the_activations_are() -> None:
    batch = images()
    (gradient,) = torch.autograd.grad(every_nth(batch, 1, 3).sum(), batch)
    assert gradient.stride() == batch.stride()
