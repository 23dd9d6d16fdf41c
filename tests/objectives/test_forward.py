from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from retemper.errors import LayerError, ModelError, SettingError
from retemper.information import profile
from retemper.objectives import (
    ActivationEntropy,
    ForwardPass,
    HSICBottleneck,
    InputGradient,
    LinearisedLoss,
    Mimic,
    Term,
)


class Partly(nn.Module):
    """Has a nonlinearity that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        self.auxiliary = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs.float())


def test_each_selection_gets_its_own_layers(network: Callable[[int], nn.Module], batch: Callable[[int], Any]) -> None:
    forward = ForwardPass(network(3), *batch(3), ["all", nn.Linear, ["0", "1"]])
    assert list(forward.activations("all")) == ["1", "3"]
    assert list(forward.activations(nn.Linear)) == ["0", "2", "4"]
    assert list(forward.activations(["0", "1"])) == ["0", "1"]
    assert torch.equal(forward.activations(nn.Linear)["4"], forward.logits)
    with pytest.raises(LayerError, match=r"'1'.*recorded_layers"):
        forward.activations("1")


def test_other_logits_make_another_pass_and_leave_the_first(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    inputs, labels = batch(3)
    forward = ForwardPass(network(3), inputs, labels, differentiable_inputs=True)
    losses, gradient = forward.losses, forward.input_gradient("loss")
    doubled = forward.with_logits(2 * forward.logits)
    expected = nn.functional.cross_entropy(2 * forward.logits, labels, reduction="none")
    torch.testing.assert_close(doubled.losses, expected)
    (wanted,) = torch.autograd.grad(expected.sum(), forward.inputs, retain_graph=True)
    torch.testing.assert_close(doubled.input_gradient("loss"), wanted)
    assert forward.losses is losses
    assert forward.input_gradient("loss") is gradient


def test_a_layer_that_runs_twice_counts_twice() -> None:
    act = nn.Tanh()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), act, nn.Linear(4, 4), act, nn.Linear(4, 3))
    inputs, labels = torch.rand(6, 5), torch.arange(6) % 3
    entropy = ActivationEntropy().compute(model, inputs, labels).total
    with torch.no_grad():
        halves = [nn.Sequential(*model[:count], nn.Identity()) for count in (2, 4)]
        apart = [
            ActivationEntropy(nn.Identity)(nn.Sequential(half, nn.Linear(4, 3)), inputs, labels) for half in halves
        ]
    assert entropy.detach().item() == pytest.approx(sum(apart).item() / 2)


def test_layers_that_do_not_run_are_left_out_but_not_all_of_them() -> None:
    inputs, labels = torch.rand(4, 5), torch.arange(4) % 3
    assert list(ForwardPass(Partly(), inputs, labels, ["all"]).activations("all")) == ["layers.1"]
    with pytest.raises(LayerError, match=r"Partly has layers that fit 'auxiliary', but none of them ran"):
        ActivationEntropy("auxiliary")(Partly(), inputs, labels)


def test_losses_and_margins_are_those_of_each_image(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(4), batch(4)
    forward = ForwardPass(model, inputs, labels, differentiable_inputs=True)
    for index, label in enumerate(labels.tolist()):
        image = inputs[index : index + 1].clone().requires_grad_()
        logits = model(image)[0]
        loss = logits.exp().sum().log() - logits[label]
        assert forward.losses[index].item() == pytest.approx(loss.item())
        others = [logits[other] for other in range(4) if other != label]
        for of, scalar in (("loss", loss), ("scores", logits[label] - max(others))):
            (gradient,) = torch.autograd.grad(scalar, image, retain_graph=True)
            torch.testing.assert_close(forward.input_gradient(of)[index], gradient[0], rtol=1e-10, atol=1e-12)


def test_half_precision_logits_are_widened(batch: Callable[[int], Any]) -> None:
    inputs, labels = batch(3)
    with torch.autocast("cpu", torch.bfloat16):
        forward = ForwardPass(nn.Linear(5, 3), inputs.float(), labels)
    assert forward.logits.dtype == torch.float32


def test_the_callers_inputs_are_left_alone(network: Callable[[int], nn.Module], batch: Callable[[int], Any]) -> None:
    model, (inputs, labels) = network(3), batch(3)
    before = inputs.clone()
    forward = ForwardPass(model, inputs, labels, differentiable_inputs=True)
    forward.input_gradient("loss").square().sum().backward()
    assert not inputs.requires_grad
    assert inputs.grad is None
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("of", ["loss", "scores"])
def test_inputs_that_require_a_gradient_get_it_through_the_input_gradient(
    of: Any, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)

    def size(points: Tensor) -> Tensor:
        return ForwardPass(model, points, labels, differentiable_inputs=True).input_gradient(of).square().sum()

    assert torch.autograd.gradcheck(size, inputs.clone().requires_grad_())


def test_inputs_that_are_no_floats_have_no_gradient() -> None:
    inputs = torch.zeros(2, 5, dtype=torch.uint8)
    with pytest.raises(SettingError, match=r"floats.*torch\.uint8"):
        ForwardPass(Partly(), inputs, torch.zeros(2, dtype=torch.long), differentiable_inputs=True)
    ForwardPass(Partly(), inputs, torch.zeros(2, dtype=torch.long))


class Checkpointed(nn.Module):
    """Keeps no outputs of its middle layers, in either of torch's two ways, or runs them as they are."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.reentrant = reentrant
        self.first = nn.Linear(5, 6)
        self.block = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
        self.last = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs)
        if self.reentrant is None:
            return self.last(self.block(hidden))
        return self.last(checkpoint(self.block, hidden, use_reentrant=self.reentrant))


READING = [ActivationEntropy(), HSICBottleneck(), Mimic((("block.1", 0.5),))]


@pytest.mark.parametrize("term", READING)
def test_outputs_made_with_gradients_off_are_no_part_of_a_loss(term: Term) -> None:
    inputs, labels = torch.rand(6, 5), torch.arange(6) % 3
    with pytest.raises(LayerError, match=r"'block\.1' runs .* with gradients off.*use_reentrant=False"):
        term(Checkpointed(True), inputs, labels)
    gradients = []
    for reentrant in (False, None):
        model = Checkpointed(reentrant)
        term(model, inputs, labels).backward()
        assert model.first.weight.grad is not None
        gradients.append(model.first.weight.grad)
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode])
def test_without_gradients_outside_it_is_no_matter_that_they_are_off_inside(
    surroundings: Callable[[], torch.no_grad],
) -> None:
    inputs, labels = torch.rand(6, 5), torch.arange(6) % 3
    for term in READING:
        with surroundings():
            values = [term(Checkpointed(reentrant), inputs, labels).item() for reentrant in (True, None)]
        assert values[0] == pytest.approx(values[1])
    model = Checkpointed(True).eval()
    assert [layer.layer for layer in profile(model, [(inputs, labels)], replicates=0)] == ["block.1"]
    assert [layer for layer, _ in Mimic.of(model, [(inputs, labels)]).targets] == ["block.1"]


@pytest.mark.parametrize("term", [InputGradient(), InputGradient(step=0.1), LinearisedLoss("l1", 0.2, step=0.1)])
def test_a_checkpoint_that_input_gradients_cannot_pass_is_an_error_that_says_what_to_do(term: Term) -> None:
    inputs, labels = torch.rand(6, 5), torch.arange(6) % 3
    with pytest.raises(ModelError, match=r"use_reentrant=False.*incompatible"):
        term(Checkpointed(True), inputs, labels)
    term(Checkpointed(False), inputs, labels).backward()
