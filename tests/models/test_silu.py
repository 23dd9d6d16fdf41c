import pytest
import torch
from torch import Tensor, nn

from retemper.models import silu
from retemper.models.silu import SiLU


def derivatives(layer: nn.Module, x: Tensor, *directions: Tensor) -> list[Tensor]:
    """The value, the slope and the bend along given directions."""
    x = x.detach().requires_grad_()
    value = layer(x)
    (slope,) = torch.autograd.grad(value, x, directions[0], create_graph=True)
    (bend,) = torch.autograd.grad(slope, x, directions[1])
    return [value, slope, bend]


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4, 5)])
def test_both_derivatives_are_those_of_the_value(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(SiLU(), x)
    assert torch.autograd.gradgradcheck(SiLU(), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_it_is_pytorchs_in_any_layout_and_over_many_chunks(
    dtype: torch.dtype, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silu, "CHUNK", 50)
    torch.manual_seed(0)
    x, first, second = (4 * torch.randn(3, 4, 5, 6) for _ in range(3))
    # What comes back may be laid out otherwise, or be one number for all.
    found = derivatives(SiLU(), x.to(dtype).contiguous(memory_format=layout), first.to(dtype), second.to(dtype))
    expected = derivatives(nn.SiLU(), x.double(), first.double(), second.double())
    close = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == dtype
        assert ours.is_contiguous(memory_format=layout)
        assert (ours.double() - theirs).abs().max() <= close * theirs.abs().max()
    expanded = derivatives(SiLU(), x, torch.ones(()).expand_as(x), torch.ones(()).expand_as(x))
    wanted = derivatives(nn.SiLU(), x, torch.ones_like(x), torch.ones_like(x))
    for ours, theirs in zip(expanded, wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_large_and_empty_inputs_are_no_trouble() -> None:
    for ours in derivatives(SiLU(), torch.tensor([-1e30, -90.0, 90.0, 1e30]), torch.ones(4), torch.ones(4)):
        assert ours.isfinite().all()
    assert derivatives(SiLU(), torch.empty(0, 3), torch.empty(0, 3), torch.empty(0, 3))[2].shape == (0, 3)


def test_it_counts_as_the_nonlinearity_that_it_is() -> None:
    assert isinstance(SiLU(), nn.SiLU)
    assert torch.equal(SiLU()(torch.ones(3)), nn.SiLU()(torch.ones(3)))
