import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor, nn

from retemper.activations import record
from retemper.data import Split
from retemper.errors import SettingError
from retemper.objectives import (
    ActivationEntropy,
    CrossEntropy,
    Differential,
    ForwardPass,
    InputGradient,
    Objective,
    OneOf,
    PGDTraining,
    Term,
    WeightedSum,
    recipe,
)
from retemper.threats import Linf

TERMS = [CrossEntropy(), ActivationEntropy(), ActivationEntropy("1", "renyi"), Differential(), InputGradient()]
weights = st.floats(-10, 10)


class Constant(Term):
    """A user's own term, which needs nothing."""

    name = "constant"

    def __init__(self, number: float) -> None:
        self.number = number
        self.settled = 0

    def value(self, forward: ForwardPass) -> Float[Tensor, ""]:
        return forward.inputs.new_tensor(self.number)

    def settle(self, model: nn.Module, train: Split) -> None:
        self.settled += 1


def value(objective: Objective) -> float:
    return objective(nn.Linear(2, 2).double(), torch.ones(1, 2, dtype=torch.float64), torch.zeros(1).long()).item()


@given(weights, weights, weights, weights, weights)
def test_terms_add_and_scale_as_numbers_do(a: float, b: float, x: float, y: float, c: float) -> None:
    one, other = Constant(x), Constant(y)
    assert value(one) == x
    assert value(a * one) == value(one * a) == a * x
    assert value(one + other) == value(other + one) == x + y
    assert value(a * one + b * other) == pytest.approx(a * x + b * y, abs=1e-12)
    assert value((a * one + other) * c) == pytest.approx(c * (a * x + y), abs=1e-10)
    assert value(c * (one + b * other)) == pytest.approx(c * (x + b * y), abs=1e-10)
    assert value((one + other) + (one + other)) == pytest.approx(2 * (x + y), abs=1e-12)


def test_real_terms_commute_in_value(network: Callable[[int], nn.Module], batch: Callable[[int], Any]) -> None:
    model = network(3)
    there = sum(TERMS[1:], start=1.0 * TERMS[0])
    back = sum(TERMS[-2::-1], start=1.0 * TERMS[-1])
    single = sum(term(model, *batch(3)).item() for term in TERMS)
    assert there(model, *batch(3)).item() == pytest.approx(single, rel=1e-12)
    assert back(model, *batch(3)).item() == pytest.approx(single, rel=1e-12)


def test_adding_leaves_the_summands_as_they_were() -> None:
    first = CrossEntropy() + Differential()
    terms = first.terms
    _ = first + InputGradient()
    _ = 3 * first
    assert first.terms == terms


@pytest.mark.parametrize(
    ("objective", "formula"),
    [
        (CrossEntropy(), "CrossEntropy()"),
        (2 * CrossEntropy(), "2 * CrossEntropy()"),
        (
            CrossEntropy() + 0.1 * ActivationEntropy(),
            "CrossEntropy() + 0.1 * ActivationEntropy(layers='all', measure='activation', every=1)",
        ),
        ((CrossEntropy() + Differential()) * 0.5, "0.5 * CrossEntropy() + 0.5 * Differential()"),
        ((0.1 + 0.2) * CrossEntropy() + Differential(), "0.3 * CrossEntropy() + Differential()"),
        (-1 * CrossEntropy(), "-1 * CrossEntropy()"),
        (0.12345678 * CrossEntropy(), "0.12345678 * CrossEntropy()"),
        (
            Differential() + 1e-5 * InputGradient(),
            "Differential() + 1e-05 * InputGradient(of='scores', norm='l2', squared=True, step=None, every=1)",
        ),
    ],
)
def test_repr_reads_as_the_formula_and_evaluates_to_it(objective: Objective, formula: str) -> None:
    assert repr(objective) == formula
    assert repr(eval(repr(objective))) == formula


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_finite_number_are_refused(weight: float) -> None:
    with pytest.raises(SettingError, match=r"weight of CrossEntropy\(\)"):
        weight * CrossEntropy()
    with pytest.raises(SettingError, match="finite number"):
        (CrossEntropy() + Differential()) * weight


@pytest.mark.parametrize("summand", [PGDTraining(Linf(0.1)), 3.0, None])
def test_only_terms_add(summand: Any) -> None:
    for terms in (CrossEntropy(), CrossEntropy() + Differential()):
        with pytest.raises(SettingError, match=r"PGDTraining\(threat, a \+ b\)"):
            terms + summand


def test_parts_are_weighted_and_add_up(network: Callable[[int], nn.Module], batch: Callable[[int], Any]) -> None:
    model = network(3)
    objective = CrossEntropy() + 0.5 * ActivationEntropy("1") + 0.25 * ActivationEntropy("3") + 2 * Differential()
    loss = objective.compute(model, *batch(3))
    assert list(loss.parts) == ["cross-entropy", "activation-entropy", "activation-entropy'", "differential"]
    for (weight, term), part in zip(objective.terms, loss.parts.values(), strict=True):
        assert part.item() == pytest.approx(weight * term(model, *batch(3)).item())
    assert loss.total.item() == pytest.approx(sum(part.item() for part in loss.parts.values()))
    assert objective(model, *batch(3)).item() == loss.total.item()


def test_a_sum_settles_every_term(network: Callable[[int], nn.Module], digits: Split) -> None:
    one, other = Constant(1), Constant(2)
    (one + 3 * other + CrossEntropy()).settle(network(2), digits)
    PGDTraining(Linf(0.1), one + CrossEntropy()).settle(network(2), digits)
    assert (one.settled, other.settled) == (2, 1)


def test_there_is_one_forward_pass_whatever_the_terms(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model = network(3)
    runs = []
    for module in model.modules():
        module.register_forward_hook(lambda module, *_: runs.append(module))
    everything = sum([*TERMS, InputGradient("loss", "l1"), ActivationEntropy(nn.Linear)], start=0.5 * CrossEntropy())
    everything(model, *batch(3)).backward()
    assert len(runs) == len(list(model.modules()))


@pytest.mark.parametrize("term", TERMS)
def test_activations_and_input_gradients_are_computed_only_where_asked_for(
    term: Term, network: Callable[[int], nn.Module], batch: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings, differentiated = [], []
    original = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: differentiated.append(1) or original(*a, **k))
    monkeypatch.setattr("retemper.objectives.forward.record", lambda *a, **k: recordings.append(1) or record(*a, **k))
    model, (inputs, labels) = network(3), batch(3)
    needs_graph = []
    model.register_forward_pre_hook(lambda _module, arguments: needs_graph.append(arguments[0].requires_grad))
    (term + CrossEntropy())(model, inputs, labels)
    assert len(recordings) == isinstance(term, ActivationEntropy)
    assert len(differentiated) == isinstance(term, InputGradient)
    assert needs_graph == [isinstance(term, InputGradient)]
    assert not inputs.requires_grad


def test_terms_that_ask_for_the_same_input_gradient_share_it(
    network: Callable[[int], nn.Module], batch: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    differentiated = []
    original = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: differentiated.append(1) or original(*a, **k))
    objective = InputGradient("loss") + InputGradient("loss", "l1") + InputGradient("scores")
    objective(network(3), *batch(3))
    assert len(differentiated) == 2


@pytest.mark.parametrize("term", TERMS)
def test_a_validation_loop_without_gradients_gets_the_same_value(
    term: Term, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model = network(3)
    expected = term(model, *batch(3))
    with torch.no_grad():
        found = (term + 0 * CrossEntropy()).compute(model, *batch(3))
        assert not torch.is_grad_enabled()
    assert torch.equal(found.total, expected)
    assert not any(loss.requires_grad for loss in (found.total, *found.parts.values()))


def test_a_sum_is_built_from_pairs_of_weights_and_terms() -> None:
    assert repr(WeightedSum(((2.0, CrossEntropy()),))) == repr(2 * CrossEntropy())


@pytest.mark.parametrize("objective", [CrossEntropy() + InputGradient(), recipe(Linf(0.1)), 1 * ActivationEntropy()])
def test_under_inference_mode_the_loss_is_the_same_without_a_graph(
    objective: Objective, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    expected = objective(model, inputs, labels).item()
    with torch.inference_mode():
        for given in ((inputs, labels), (inputs.clone(), labels.clone())):
            loss = objective(model, *given)
            assert loss.item() == expected
            assert not loss.requires_grad


def test_sums_of_equal_terms_and_weights_are_equal_and_hash_alike() -> None:
    def made(weight: float) -> Objective:
        return OneOf((recipe(Linf(0.1)), CrossEntropy() + weight * InputGradient()))

    assert made(0.3) == made(0.3)
    assert made(0.3) != made(0.4)
    assert len({made(0.3), made(0.3), made(0.4)}) == 2
