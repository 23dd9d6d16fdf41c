from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from retemper.data import load
from retemper.errors import SettingError
from retemper.objectives import ActivationEntropy, CrossEntropy, Differential, ForwardPass, InputGradient, Term, WarmUp
from retemper.training import fresh, retrain

TERMS = [ActivationEntropy(), InputGradient("loss", "l1"), CrossEntropy()]


@pytest.mark.parametrize("term", TERMS, ids=repr)
@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.1, 0.25), (0.3, 0.75), (0.4, 1.0), (0.9, 1.0)])
def test_its_weight_rises_in_a_line_and_stays(
    term: Term, progress: float, share: float, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    whole = term(model, inputs, labels)
    loss = (2 * WarmUp(term, over=0.4)).compute(model, inputs, labels, progress=progress)
    assert loss.total.item() == pytest.approx(2 * share * whole.item(), rel=1e-12)
    assert list(loss.parts) == [term.name]


@pytest.mark.parametrize("term", TERMS, ids=repr)
def test_without_a_training_around_it_it_is_the_term(
    term: Term, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    assert WarmUp(term, 0.4)(model, inputs, labels) == term(model, inputs, labels)


def test_retrain_says_how_far_it_is() -> None:
    data, seen = load("digits"), list[float]()

    class Watched(CrossEntropy):
        def value(self, forward: ForwardPass) -> torch.Tensor:
            seen.append(forward.progress)
            return super().value(forward)

    retrain(fresh("mlp", data, seed=0), data, WarmUp(Watched(), 1.0), epochs=2, batch_size=512, progress=False)
    steps = len(seen)
    assert steps >= 4
    assert seen == pytest.approx([step / steps for step in range(steps)])


def test_what_the_term_leaves_open_is_settled() -> None:
    data = load("digits")
    biases = []
    for term in (Differential(), WarmUp(Differential(), 0.5)):
        model = fresh("mlp", data, seed=0)
        with torch.no_grad():
            model.get_parameter("logits.bias").zero_()
        (1.0 * term).settle(model, data.train)
        biases.append(model.get_parameter("logits.bias").detach())
    assert biases[0].abs().sum() > 0
    assert torch.equal(*biases)


def test_at_the_end_of_a_training_it_is_the_term_however_often_it_was_warmed_up() -> None:
    assert WarmUp(WarmUp(InputGradient(), 0.5), 0.2).warmed == InputGradient() == InputGradient().warmed


@pytest.mark.parametrize("over", [0, -0.5, 1.1, float("nan")])
def test_the_share_of_the_training_is_above_0_and_at_most_1(over: float) -> None:
    with pytest.raises(SettingError, match=rf"\(0, 1\], but got {over}"):
        WarmUp(ActivationEntropy(), over)


def test_only_a_term_warms_up() -> None:
    with pytest.raises(SettingError, match="a term to warm up"):
        WarmUp(CrossEntropy() + ActivationEntropy(), 0.5)  # type: ignore[arg-type]
