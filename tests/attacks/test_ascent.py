import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from retemper.attacks.ascent import ascend
from retemper.attacks.losses import cross_entropy
from retemper.errors import GradientError


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.block, self.reentrant = nn.Linear(3, 2), reentrant

    def forward(self, inputs: Tensor) -> Tensor:
        return checkpoint(self.block, inputs, use_reentrant=self.reentrant)


def test_a_graph_that_cannot_be_gone_through_is_an_error_as_one_that_is_cut() -> None:
    points, labels = torch.rand(4, 3), torch.tensor([0, 1, 0, 1])
    with pytest.raises(GradientError, match=r"use_reentrant=False.*incompatible"):
        ascend(Checkpointed(True), points, labels, cross_entropy)
    assert ascend(Checkpointed(False), points, labels, cross_entropy).gradient.any()


def test_errors_of_the_models_own_hooks_are_raised_as_they_are() -> None:
    class OwnError(RuntimeError):
        pass

    def fail(_gradient: Tensor) -> None:
        raise OwnError("seen")

    class Watched(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            outputs = super().forward(inputs)
            outputs.register_hook(fail)
            return outputs

    with pytest.raises(OwnError, match="seen"):
        ascend(Watched(3, 2), torch.rand(4, 3), torch.tensor([0, 1, 0, 1]), cross_entropy)
