import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from retemper.data import Split
from retemper.errors import SettingError
from retemper.evaluation.adaptive import adaptive
from retemper.models import create
from retemper.objectives import GuidedComplementEntropy, LogitSqueezing, as_spec, from_spec

batches = st.integers(3, 6).flatmap(
    lambda classes: st.lists(
        st.tuples(st.lists(st.floats(-20, 20), min_size=classes, max_size=classes), st.integers(0, classes - 1)),
        min_size=1,
        max_size=4,
    )
)


def loop(rows: list[tuple[list[float], int]], alpha: float) -> float:
    """The published formula, of probabilities."""
    total = 0.0
    for row, label in rows:
        shares = [math.exp(value) / sum(map(math.exp, row)) for value in row]
        wrong = [share for place, share in enumerate(shares) if place != label]
        complement = [share / sum(wrong) for share in wrong]
        total += shares[label] ** alpha * sum(share * math.log(share) for share in complement) / math.log(len(wrong))
    return total / len(rows)


@given(batches, st.floats(0.05, 2))
def test_it_is_the_published_formula_and_lies_between_minus_one_and_zero(
    rows: list[tuple[list[float], int]], alpha: float
) -> None:
    logits = torch.tensor([row for row, _ in rows], dtype=torch.float64)
    labels = torch.tensor([label for _, label in rows])
    found = GuidedComplementEntropy(alpha)(nn.Identity(), logits, labels).item()
    assert found == pytest.approx(loop(rows, alpha), rel=1e-6, abs=1e-12)
    assert -1 - 1e-12 <= found <= 0


def test_sure_and_even_handed_is_best() -> None:
    best = GuidedComplementEntropy()(nn.Identity(), torch.tensor([[50.0, 0.0, 0.0, 0.0]]), torch.tensor([0]))
    uneven = GuidedComplementEntropy()(nn.Identity(), torch.tensor([[50.0, 9.0, 0.0, 0.0]]), torch.tensor([0]))
    assert best.item() == pytest.approx(-1)
    assert uneven.item() > -0.1


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_huge_logits_have_finite_values_and_gradients(size: float) -> None:
    for row in ([size, 0.0, -size], [-size, 0.0, size], [0.0, size, size]):
        logits = torch.tensor([row], requires_grad=True)
        loss = GuidedComplementEntropy()(nn.Identity(), logits, torch.tensor([0]))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_first_and_second_derivatives_are_those_of_the_value(batch: Callable[[int], Any]) -> None:
    logits = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(5) % 4

    def value(logits: Tensor) -> Tensor:
        return GuidedComplementEntropy()(nn.Identity(), logits, labels)

    assert torch.autograd.gradcheck(value, logits)
    assert torch.autograd.gradgradcheck(value, logits)


def test_a_plain_loop_finds_the_right_classes_of_digits(digits: Split) -> None:
    torch.manual_seed(0)
    model = create("mlp", shape=(64,), classes=10)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.003)
    inputs, labels = digits.inputs.flatten(1).float(), digits.labels
    for _ in range(60):
        loss = GuidedComplementEntropy()(model, inputs, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    # A fresh network has p_y = 0.1 and wrong classes that are about alike: -0.1^(1/3).
    assert loss.item() < -0.8
    assert (model(inputs).argmax(1) == labels).double().mean() > 0.9


def test_two_classes_have_no_complement(network: Callable[[int], nn.Module], batch: Callable[[int], Any]) -> None:
    for outputs in (1, 2):
        with pytest.raises(SettingError, match=r"2 classes.*CrossEntropy"):
            GuidedComplementEntropy()(network(outputs), *batch(2))


def test_attacks_have_a_loss_of_their_own_in_its_place() -> None:
    assert adaptive(GuidedComplementEntropy()) is None
    assert adaptive(GuidedComplementEntropy() + 0.1 * LogitSqueezing()) is not None


def test_its_specification_is_read_back() -> None:
    spec = as_spec(GuidedComplementEntropy(0.25) + 0.5 * GuidedComplementEntropy())
    assert spec is not None
    assert repr(from_spec(spec)) == repr(GuidedComplementEntropy(0.25) + 0.5 * GuidedComplementEntropy())


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_alpha_is_refused(alpha: float) -> None:
    with pytest.raises(SettingError, match="`alpha`"):
        GuidedComplementEntropy(alpha)
