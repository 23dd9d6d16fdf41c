from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from retemper.data import Split, load
from retemper.evaluation import evaluate, plan
from retemper.models import create
from retemper.objectives import CrossEntropy
from retemper.studies import looks
from retemper.studies.looks import FLAWED, Seen, flawed, official, probabilities, textbook
from retemper.threats import L2, Linf
from retemper.training import retrain


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    data = load("digits", classes=("3", "8"))
    torch.manual_seed(0)
    model = create("mlp", shape=data.shape, classes=2)
    retrain(model, data, CrossEntropy(), epochs=20, progress=False)
    return model.eval()


@pytest.fixture(scope="module")
def split() -> Split:
    return load("digits", classes=("3", "8")).test.take(40)


def test_one_step_is_fgsm_along_the_gradient_of_the_cross_entropy(trained: nn.Module, split: Split) -> None:
    inputs, labels = split.batch(slice(None))
    points = inputs.clone().requires_grad_()
    nn.functional.cross_entropy(trained(points), labels).backward()
    assert points.grad is not None
    expected = (inputs + 0.1 * points.grad.sign()).clamp(0, 1)
    assert torch.equal(textbook(trained, inputs, labels, Linf(0.1), steps=1), expected)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.7)])
def test_more_steps_stay_inside_and_go_further(trained: nn.Module, split: Split, threat: Linf | L2) -> None:
    inputs, labels = split.batch(slice(None))
    one, ten = (textbook(trained, inputs, labels, threat, steps=steps) for steps in (1, 10))
    assert threat.allows(ten, inputs).all()
    losses = [nn.functional.cross_entropy(trained(points), labels).item() for points in (inputs, one, ten)]
    assert losses == sorted(losses)


def test_through_the_softmax_of_a_confident_network_weak_attacks_find_nothing(split: Split, trained: nn.Module) -> None:
    class Confident(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return 1e4 * trained(inputs)

    seen = {one.look: one.standing.mean() for one in flawed(Confident(), split, Linf(0.2))}
    assert list(seen) == list(FLAWED)
    right = (trained(split.batch(slice(None))[0]).argmax(1) == split.labels).double().mean().item()
    assert seen["PGD, 10 steps, through softmax"] == pytest.approx(right)
    found = evaluate(Confident(), split, [Linf(0.2)], attacks=plan(["apgd-ce"]), alarms=False, progress=False)
    assert found.robustness[0].accuracy < right / 2


def test_probabilities_are_the_softmax_of_the_logits(trained: nn.Module, split: Split) -> None:
    inputs, _ = split.batch(slice(0, 5))
    assert torch.equal(probabilities(trained)(inputs), trained(inputs).softmax(1))


def test_autoattack_looks_at_logits_and_probabilities_once_and_is_read_back(
    trained: nn.Module, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def stub(model: nn.Module, split: Split, threat: Linf) -> Seen:
        asked.append((model(split.inputs[:3]).sum(1), threat))
        return Seen("", np.arange(len(split)) % 2 == len(asked) % 2)

    monkeypatch.setattr(looks, "autoattack", stub)
    first = official(trained, split, Linf(8 / 255), tmp_path)
    assert [one.look for one in first] == ["AutoAttack", "AutoAttack through softmax"]
    assert torch.allclose(asked[1][0], torch.ones(3))
    assert not torch.allclose(asked[0][0], torch.ones(3))
    assert (first[0].standing != first[1].standing).all()
    again = official(trained, split, Linf(8 / 255), tmp_path)
    assert len(asked) == 2
    for ours, theirs in zip(first, again, strict=True):
        assert ours.standing.tolist() == theirs.standing.tolist()
    official(trained, split, Linf(4 / 255), tmp_path)
    assert len(asked) == 4
