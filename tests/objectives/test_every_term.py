"""What holds for every term: true gradients, any model's outputs, low precision, and a loss that goes down."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import ModelError
from retemper.information import MEASURES
from retemper.models import create
from retemper.objectives import (
    TRADES,
    ActivationEntropy,
    CrossEntropy,
    Curvature,
    Differential,
    FGSMTraining,
    GuidedComplementEntropy,
    HSICBottleneck,
    InputGradient,
    IntervalBounds,
    Jacobian,
    LabelSmoothing,
    LinearisedLoss,
    LogitSqueezing,
    Objective,
    PGDTraining,
    Term,
    WarmUp,
)
from retemper.threats import Linf

INPUT_GRADIENTS = [
    InputGradient(of, norm, squared) for of in ("loss", "scores") for norm in ("l1", "l2") for squared in (False, True)
]
# The unit entropy holds a scale constant in its gradient: see tests/information/test_measures.py.
SMOOTH = [
    CrossEntropy(),
    Differential(),
    *[ActivationEntropy(measure=measure) for measure in MEASURES if measure != "unit"],
    *INPUT_GRADIENTS,
    LabelSmoothing(0.2),
    LogitSqueezing(),
    HSICBottleneck(),
    HSICBottleneck(normalised=False),
    *[InputGradient(of, "l1", False, step=0.1) for of in ("loss", "scores")],
    *[LinearisedLoss("l1", 0.2, step=0.1, loss=loss) for loss in ("cross-entropy", "differential")],
    Curvature(1.5),
    WarmUp(ActivationEntropy(), 0.5),
    WarmUp(InputGradient(), 0.5),
]
# The finite difference holds its direction constant, which for "l2" turns with the weights.
EVERY = [
    *SMOOTH,
    ActivationEntropy(measure="unit"),
    InputGradient("loss", step=0.1),
    LinearisedLoss("l2", 0.2, step=0.1),
]
# What one class against another does not have.
OF_MANY_CLASSES = [GuidedComplementEntropy()]
OBJECTIVES = [
    *[CrossEntropy() + 0.01 * ActivationEntropy(measure=measure) for measure in MEASURES],
    Differential() + 0.01 * InputGradient(),
    CrossEntropy() + 0.05 * InputGradient("loss", "l1", squared=False),
    CrossEntropy() + 0.01 * WarmUp(InputGradient("loss", "l1"), 0.5),
    CrossEntropy() + 0.05 * InputGradient("loss", "l1", squared=False, step=2 / 255, every=2),
    1 * LinearisedLoss("l1", 0.05, step=0.01, warmup=0.5),
    CrossEntropy() + 0.001 * Jacobian(),
    CrossEntropy() + 0.1 * Curvature(0.3),
    LabelSmoothing(0.1) + 0.001 * LogitSqueezing(),
    CrossEntropy() + HSICBottleneck(),
    1 * IntervalBounds(0.001),
    PGDTraining(Linf(0.05), steps=2),
    FGSMTraining(Linf(0.05)),
    TRADES(Linf(0.05), steps=2),
]


class Value(nn.Module):
    """The loss as a module, so that a functional call can put other parameters into the model."""

    def __init__(self, objective: Objective, model: nn.Module) -> None:
        super().__init__()
        self.objective, self.model = objective, model

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        return self.objective(self.model, inputs, labels)


class Returning(nn.Module):
    """A user's model that returns its logits in its own way."""

    def __init__(self, network: nn.Module, form: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.form = network, form

    def forward(self, inputs: Tensor) -> Any:
        return self.form(self.network(inputs))


@pytest.mark.parametrize("term", SMOOTH, ids=repr)
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_gradient_by_the_parameters_is_that_of_the_value(
    term: Term, outputs: int, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(outputs), batch(max(outputs, 2))
    value = Value(term, model)
    names = [name for name, _ in value.named_parameters()]

    def loss(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(value, dict(zip(names, parameters, strict=True)), (inputs, labels))

    parameters = tuple(parameter.detach().clone().requires_grad_() for parameter in model.parameters())
    assert torch.autograd.gradcheck(loss, parameters, fast_mode=True)


@pytest.mark.parametrize("term", [*EVERY, *OF_MANY_CLASSES], ids=repr)
@pytest.mark.parametrize(
    "form",
    [lambda logits: (logits, None), lambda logits: {"logits": logits}, lambda logits: [logits]],
    ids=["tuple", "dict", "list"],
)
def test_models_may_return_their_logits_in_a_container(
    term: Term, form: Callable[[Tensor], Any], network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model = network(3)
    found = (1 * term)(Returning(model, form), *batch(3))
    if isinstance(term, ActivationEntropy):
        found.backward()
    assert torch.equal(found, (1 * term)(model, *batch(3)))


@pytest.mark.parametrize("term", EVERY, ids=repr)
def test_a_single_output_is_the_score_of_class_1(
    term: Term, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model = network(1)
    stacked = Returning(model, lambda score: torch.cat([torch.zeros_like(score), score], dim=1))
    flat = Returning(model, lambda score: score[:, 0])
    expected = term(stacked, *batch(2)).item()
    assert term(model, *batch(2)).item() == pytest.approx(expected, rel=1e-12)
    assert term(flat, *batch(2)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("term", [*EVERY, *OF_MANY_CLASSES], ids=repr)
def test_autocast_to_bf16_gives_about_the_same_value_and_finite_gradients(term: Term) -> None:
    torch.manual_seed(0)
    model = create("small-cnn", shape=(1, 8, 8), classes=3, activation="silu")
    inputs, labels = torch.rand(12, 1, 8, 8), torch.arange(12) % 3
    expected = term(model, inputs, labels).item()
    with torch.autocast("cpu", torch.bfloat16):
        loss = term(model, inputs, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=0.05)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_a_plain_loop_reduces_the_loss_on_digits(objective: Objective, digits: Split) -> None:
    torch.manual_seed(0)
    model = create("small-cnn", shape=(1, 8, 8), classes=10)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(4):
        for inputs, labels in digits.batches(100):
            loss = objective(model, inputs, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert sum(losses[-6:]) < 0.7 * sum(losses[:6])


def test_a_layer_that_returns_a_tuple_is_named_in_the_error() -> None:
    class Pair(nn.Module):
        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return inputs, inputs

    with pytest.raises(ModelError, match="Expected layer '1' to return a tensor, but it returns tuple"):
        ActivationEntropy("1")(nn.Sequential(nn.Linear(5, 3), Pair()), torch.rand(2, 5), torch.tensor([0, 1]))
