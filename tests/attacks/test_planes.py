import pytest
import torch
from torch import nn

from retemper.attacks.planes import nearest_plane, rivals
from retemper.errors import GradientError, ModelError
from retemper.threats import L2


def test_a_compiled_model_that_gives_one_gradient_alone_is_no_model_without_gradients() -> None:
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
    compiled = torch.compile(model, backend="aot_eager")
    points, labels = torch.rand(5, 3), torch.zeros(5, dtype=torch.int64)
    compiled(points.clone().requires_grad_()).sum().backward()
    with pytest.raises(ModelError, match=r"_orig_mod.*donated buffers") as found:
        nearest_plane(compiled, points, labels, rivals(model, points, labels), L2(1.0))
    assert not isinstance(found.value, GradientError)
