from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from retemper.errors import GradientError, ModelError
from retemper.models.differentiation import differentiating


def reentrant(inputs: Tensor) -> Tensor:
    return checkpoint(torch.tanh, inputs, use_reentrant=True)


def fused_attention(inputs: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(inputs, inputs, inputs)


def distances(inputs: Tensor) -> Tensor:
    return torch.cdist(inputs, inputs)


@pytest.mark.parametrize(
    ("function", "cure", "said"),
    [
        (reentrant, "with use_reentrant=False", "incompatible with"),
        (fused_attention, r"SDPBackend\.MATH.*InputGradient\(step=", "derivative for aten::_scaled_dot_product"),
        (distances, r"Leave such a layer out.*InputGradient\(step=", "the derivative for '_cdist_backward'"),
    ],
)
def test_what_torch_cannot_differentiate_is_said_with_what_to_do(
    function: Callable[[Tensor], Tensor], cure: str, said: str
) -> None:
    points = torch.rand(1, 2, 8, 8, requires_grad=True)
    with pytest.raises(ModelError, match=f"{cure}.*What torch said: .*{said}") as found, differentiating():
        _twice(function, points)
    assert "\n" not in str(found.value)
    assert isinstance(found.value.__cause__, RuntimeError)


def _twice(function: Callable[[Tensor], Tensor], points: Tensor) -> None:
    (gradient,) = torch.autograd.grad(function(points).sum(), points, create_graph=True)
    gradient.square().sum().backward()


def test_the_math_of_attention_is_a_cure() -> None:
    points = torch.rand(1, 2, 8, 8, requires_grad=True)
    with differentiating(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        _twice(fused_attention, points)
    assert points.grad is not None
    assert points.grad.any()


@pytest.mark.parametrize(("before", "said"), [(False, "double backward"), (True, "donated buffers")])
def test_a_compiled_model_is_to_be_given_as_it_was_before(before: bool, said: str) -> None:
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    compiled = torch.compile(model, backend="aot_eager")
    points = torch.rand(5, 3, requires_grad=True)
    # Which of the two it is hangs on how torch saw the model differentiated first.
    if before:
        compiled(points).sum().backward()
    with pytest.raises(ModelError, match=rf"`model\._orig_mod`.*{said}"), differentiating():
        _twice(compiled, points)
    _twice(compiled._orig_mod, points)


def test_the_kind_of_error_is_the_callers() -> None:
    with pytest.raises(GradientError, match="use_reentrant=False"), differentiating(GradientError):
        raise RuntimeError("When use_reentrant=True, no")


class OwnError(RuntimeError):
    """Raised by a hook of the caller's."""


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        OwnError("seen by a hook"),
        ValueError("derivative for anything is not implemented"),
    ],
)
def test_other_errors_are_raised_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as found, differentiating():
        raise error
    assert found.value is error
