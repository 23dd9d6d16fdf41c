from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from retemper.evaluation.passes import counting
from retemper.models import logits
from retemper.models.hashing import architecture_hash, weights_hash
from retemper.models.parametrised import materialised

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
    model = network()
    with counting(model) as passes:
        for size in (7, 3, 1):
            inputs = INPUTS[:size].clone().requires_grad_()
            torch.autograd.grad(model(inputs).sum(), inputs)
        with torch.no_grad():
            model(INPUTS.clone().requires_grad_())
        model(INPUTS)
    assert (passes.forwards, passes.backwards) == (11 + 14, 11)


def test_every_backward_pass_through_one_graph_counts() -> None:
    """As FAB takes the gradient of every logit."""
    model, inputs = network(), INPUTS.clone().requires_grad_()
    with counting(model) as passes:
        outputs = model(inputs)
        for column in range(4):
            outputs[:, column].sum().backward(retain_graph=True)
    assert (passes.forwards, passes.backwards) == (7, 28)


def test_an_input_used_twice_counts_once() -> None:
    class Twice(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs * inputs.roll(1, dims=1)

    model = Twice()
    with counting(model) as passes:
        model(INPUTS.clone().requires_grad_()).sum().backward()
    assert passes.backwards == 7


def test_the_callers_own_tensor_keeps_no_hook() -> None:
    model, inputs = network(), INPUTS.clone().requires_grad_()
    with counting(model) as passes:
        model(inputs)
        (inputs**2).sum().backward()
        assert passes.backwards == 0
        model(inputs).sum().backward()
    assert passes.backwards == 7


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
    model, results = Returning(wrap), []

    def asked() -> None:
        inputs = INPUTS.clone().requires_grad_()
        outputs = logits(model, inputs)
        results.append((outputs, *torch.autograd.grad(outputs.square().sum(), inputs)))

    asked()
    with counting(model) as passes:
        asked()
    for own, through in zip(*results, strict=True):
        assert torch.equal(own, through)
    assert (passes.forwards, passes.backwards) == (7, 7)


def test_the_model_is_no_other_and_nothing_is_left_behind() -> None:
    model = network()
    before = weights_hash(model), architecture_hash(model)
    with counting(model) as passes:
        assert (weights_hash(model), architecture_hash(model)) == before
    model(INPUTS)
    assert passes.forwards == 0
    assert not model._forward_pre_hooks


def test_copies_that_are_made_meanwhile_count_too() -> None:
    """As the evaluation makes one whose weights need not be made at every pass."""
    model = network()
    torch.nn.utils.parametrizations.orthogonal(model[0])
    with counting(model) as passes:
        materialised(model)(INPUTS)
    assert passes.forwards == 7
