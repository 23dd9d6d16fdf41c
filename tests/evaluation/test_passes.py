from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from retemper.evaluation.passes import Counted
from retemper.models import logits, predict

INPUTS = torch.rand(7, 3, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))


class Returning(nn.Module):
    """A network whose output comes wrapped."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.network, self.wrap = network(), wrap

    def forward(self, inputs: Tensor) -> object:
        return self.wrap(self.network(inputs))


def test_images_are_counted_forward_and_backward() -> None:
    counted = Counted(network())
    for size in (7, 3, 1):
        inputs = INPUTS[:size].clone().requires_grad_()
        torch.autograd.grad(counted(inputs).sum(), inputs)
    with torch.no_grad():
        counted(INPUTS.clone().requires_grad_())
    counted(INPUTS)
    assert (counted.forwards, counted.backwards) == (11 + 14, 11)


def test_every_backward_pass_through_one_graph_counts() -> None:
    """As FAB takes the gradient of every logit."""
    counted = Counted(network())
    inputs = INPUTS.clone().requires_grad_()
    outputs = counted(inputs)
    for column in range(4):
        outputs[:, column].sum().backward(retain_graph=True)
    assert (counted.forwards, counted.backwards) == (7, 28)


def test_an_input_used_twice_counts_once() -> None:
    class Twice(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * inputs.roll(1, dims=1)

    counted = Counted(Twice())
    counted(INPUTS.clone().requires_grad_()).sum().backward()
    assert counted.backwards == 7


def test_the_callers_own_tensor_keeps_no_hook() -> None:
    counted = Counted(network())
    inputs = INPUTS.clone().requires_grad_()
    counted(inputs)
    (inputs**2).sum().backward()
    assert counted.backwards == 0
    counted(inputs).sum().backward()
    assert counted.backwards == 7


@pytest.mark.parametrize(
    "wrap",
    [
        lambda outputs: outputs,
        lambda outputs: {"logits": outputs},
        lambda outputs: (outputs, 1),
        lambda outputs: SimpleNamespace(logits=outputs),
        lambda outputs: outputs[:, 0],
    ],
)
def test_logits_and_gradients_are_those_of_the_model(wrap: Callable[[Tensor], object]) -> None:
    model = Returning(wrap)
    counted = Counted(model)
    results = []
    for asked in (model, counted):
        inputs = INPUTS.clone().requires_grad_()
        outputs = logits(asked, inputs)
        results.append((outputs, *torch.autograd.grad(outputs.square().sum(), inputs)))
    for own, through in zip(*results, strict=True):
        assert torch.equal(own, through)
    assert (counted.forwards, counted.backwards) == (7, 7)


def test_modes_are_those_of_the_model_and_change_with_it() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.9), nn.BatchNorm1d(4)).train()
    model[2].eval()
    counted = Counted(model)
    assert [module.training for module in model.modules()] == [True, True, True, False]
    assert counted.training
    predict(counted, [(INPUTS, torch.zeros(7, dtype=torch.int64))])
    assert [module.training for module in model.modules()] == [True, True, True, False]
    counted.eval()
    assert not any(module.training for module in model.modules())
    assert torch.equal(counted(INPUTS), model(INPUTS))
