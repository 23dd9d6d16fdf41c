from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from retemper.data import load
from retemper.errors import SettingError
from retemper.objectives import (
    ActivationEntropy,
    CrossEntropy,
    Differential,
    ForwardPass,
    InputGradient,
    LinearisedLoss,
    Objective,
    OneOf,
    PGDTraining,
    Term,
    WarmUp,
)
from retemper.threats import Linf
from retemper.training import fresh, retrain

TERMS = (CrossEntropy(), InputGradient("loss", "l1", squared=False), ActivationEntropy())
Build, Draw = Callable[[int], nn.Sequential], Callable[[int], Any]


def values(terms: tuple[Objective, ...], model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> list[float]:
    return [term(model, inputs, labels).item() for term in terms]


def test_in_training_mode_it_is_one_of_them_and_each_as_often(network: Build, batch: Draw) -> None:
    model, (inputs, labels) = network(3).train(), batch(3)
    each = values(TERMS, model, inputs, labels)
    torch.manual_seed(0)
    met = Counter(OneOf(TERMS)(model, inputs, labels).item() for _ in range(600))
    assert set(met) == set(each)
    assert min(met.values()) > 150


def test_in_evaluation_mode_it_is_their_mean(network: Build, batch: Draw) -> None:
    model, (inputs, labels) = network(3).eval(), batch(3)
    mean = sum(values(TERMS, model, inputs, labels)) / 3
    assert OneOf(TERMS)(model, inputs, labels).item() == pytest.approx(mean, rel=1e-12)


def test_it_is_one_of_sums_too(network: Build, batch: Draw) -> None:
    model, (inputs, labels) = network(3), batch(3)
    sums = (0.5 * CrossEntropy() + 2 * TERMS[1], ActivationEntropy(), 3 * CrossEntropy())
    each = values(sums, model.eval(), inputs, labels)
    assert OneOf(sums)(model, inputs, labels).item() == pytest.approx(sum(each) / 3, rel=1e-12)
    model.train()
    torch.manual_seed(0)
    met = {OneOf(sums)(model, inputs, labels).item() for _ in range(30)}
    assert sorted(met) == pytest.approx(sorted(values(sums, model, inputs, labels)), rel=1e-12)


def test_its_gradient_is_that_of_the_drawn_term(network: Build, batch: Draw) -> None:
    model, (inputs, labels) = network(3).train(), batch(3)
    losses = (LinearisedLoss("l1", 0.1, 0.02), LinearisedLoss("l2", 0.4, 0.1))
    gradients = []
    for term in (*losses, OneOf(losses)):
        model.zero_grad()
        torch.manual_seed(0)
        term(model, inputs, labels).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert not torch.equal(gradients[0], gradients[1])
    assert any(torch.equal(gradients[2], alone) for alone in gradients[:2])


def test_it_needs_what_any_of_them_needs() -> None:
    assert OneOf(TERMS).differentiates_inputs
    assert OneOf(TERMS).recorded_layers == "all"
    assert not OneOf((CrossEntropy(), Differential())).differentiates_inputs
    assert OneOf((CrossEntropy(), CrossEntropy() + 0.1 * TERMS[1])).differentiates_inputs
    assert OneOf((CrossEntropy(), CrossEntropy() + 0.1 * TERMS[2])).recorded_layers == "all"
    assert OneOf((CrossEntropy(), Differential())).recorded_layers is None


def test_at_the_end_of_a_training_all_are_warmed_up() -> None:
    slow = OneOf((WarmUp(InputGradient(), 0.5), LinearisedLoss("l2", 0.5, 0.1, warmup=0.3)))
    assert slow.warmed == OneOf((InputGradient(), LinearisedLoss("l2", 0.5, 0.1)))
    in_sums = OneOf((CrossEntropy(), CrossEntropy() + 0.5 * WarmUp(InputGradient(), 0.5)))
    assert repr(in_sums.warmed) == repr(OneOf((CrossEntropy(), CrossEntropy() + 0.5 * InputGradient())))


def test_retrain_says_to_each_how_far_it_is_and_draws_the_same_again() -> None:
    data = load("digits")
    runs = []
    for _ in range(2):
        seen = list[tuple[str, float]]()

        class Watched(CrossEntropy):
            def __init__(self, called: str, seen: list[tuple[str, float]]) -> None:
                self.called, self.seen = called, seen

            def value(self, forward: ForwardPass) -> torch.Tensor:
                self.seen.append((self.called, forward.progress))
                return super().value(forward)

        terms = OneOf((Watched("a", seen), Watched("b", seen)))
        retrain(fresh("mlp", data, seed=0), data, terms, epochs=2, batch_size=64, progress=False)
        runs.append(seen)
    assert runs[0] == runs[1]
    assert {called for called, _ in runs[0]} == {"a", "b"}
    assert [progress for _, progress in runs[0]] == pytest.approx([i / len(runs[0]) for i in range(len(runs[0]))])


def test_what_they_leave_open_is_settled() -> None:
    data = load("digits")
    biases = []
    for term in (Differential(), OneOf((CrossEntropy(), Differential()))):
        model = fresh("mlp", data, seed=0)
        with torch.no_grad():
            model.get_parameter("logits.bias").zero_()
        term.settle(model, data.train)
        biases.append(model.get_parameter("logits.bias").detach())
    assert biases[0].abs().sum() > 0
    assert torch.equal(*biases)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ((), "two terms or more"),
        ((CrossEntropy(),), "two terms or more"),
        ((CrossEntropy(), PGDTraining(Linf(0.1))), "two terms or more"),
        ((CrossEntropy() + ActivationEntropy("conv*"), ActivationEntropy("dense*")), "read those of 'conv\\*'"),
        ((ActivationEntropy("conv*"), ActivationEntropy("dense*")), "read those of 'conv\\*' and 'dense\\*'"),
    ],
)
def test_there_are_two_terms_that_read_the_same_layers(terms: tuple[Term, ...], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        OneOf(terms)


SCRIPT = """
import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from retemper.objectives import CrossEntropy, Differential, OneOf
from retemper.process_group import join

state = join()
torch.manual_seed(0)
model = DistributedDataParallel(nn.Linear(3, 2))
inputs, labels = torch.randn(6, 3), torch.arange(6) % 2
torch.manual_seed(7 + state.process_index)  # as `retrain` has it: every process draws its own
met = []
for _ in range(12):
    loss = OneOf((CrossEntropy(), Differential()))(model, inputs, labels)
    loss.backward()
    met.append("pairs" if torch.allclose(loss, Differential()(model, inputs, labels)) else "images")
Path(sys.argv[1]).write_text(" ".join(met))
os._exit(0)  # the model holds the group, whose threads may abort the interpreter's own end (pytorch/pytorch#190489)
"""


def test_all_processes_meet_the_same_term_where_one_spans_them(launch: Callable[..., None], tmp_path: Path) -> None:
    """Drawn by each alone, one would wait for the logits of another that is at its gradients."""
    script = tmp_path / "steps.py"
    script.write_text(SCRIPT)
    launch(script, lambda rank: [tmp_path / str(rank)])
    first, second = ((tmp_path / str(rank)).read_text().split() for rank in range(2))
    assert first == second
    assert set(first) == {"pairs", "images"}


def test_it_spans_processes_where_a_term_does() -> None:
    pairs = LinearisedLoss("l1", 0.1, 0.02, loss="differential")
    for spanning in (Differential(), pairs, WarmUp(pairs, over=0.5), OneOf((CrossEntropy(), Differential()))):
        assert OneOf((CrossEntropy(), CrossEntropy() + spanning)).spans_processes
        assert spanning.spans_processes
        assert OneOf((CrossEntropy(), spanning)).spans_processes
    assert not OneOf((*TERMS, LinearisedLoss("l1", 0.1, 0.02), WarmUp(CrossEntropy(), over=0.5))).spans_processes
