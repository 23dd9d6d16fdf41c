import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from retemper.data import Split
from retemper.errors import LayerError, SettingError
from retemper.information import MEASURES
from retemper.models import create
from retemper.objectives import CrossEntropy, Mimic


def entropy(row: list[float]) -> float:
    shares = [abs(value) / sum(map(abs, row)) for value in row]
    return -sum(share * math.log(share) for share in shares if share)


def test_it_is_the_mean_over_layers_of_the_squared_misses_as_shares_of_the_maximum(
    network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    targets = {"1": 0.7, "3": 0.4}
    expected = 0.0
    for layer, target in targets.items():
        rows = model[: int(layer) + 1](inputs).tolist()
        found = sum(map(entropy, rows)) / len(rows)
        expected += ((found - target) / math.log(len(rows[0]))) ** 2 / len(targets)
    value = Mimic(tuple(targets.items()))(model, inputs, labels)
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_model_meets_its_own_profile_exactly(
    measure: str, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, shown = network(3), batch(3)
    assert Mimic.of(model, [shown], measure=measure)(model, *shown).item() == pytest.approx(0, abs=1e-28)


def test_targets_are_means_over_images_however_they_are_batched(
    network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    model.train()
    whole = Mimic.of(model, [(inputs, labels)])
    parts = Mimic.of(model, [(inputs[:2], labels[:2]), (inputs[2:], labels[2:])])
    assert dict(parts.targets) == pytest.approx(dict(whole.targets), rel=1e-12)
    assert [layer for layer, _ in whole.targets] == ["1", "3"]
    assert model.training


@pytest.mark.parametrize("measure", ["renyi", "gaussian", "effective-rank"])
def test_of_one_image_a_measure_of_a_whole_batch_can_miss_nothing(
    measure: str, network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(3), batch(3)
    term = Mimic.of(model, [(inputs, labels)], measure=measure)
    value = term(model, inputs[:1], labels[:1])
    value.backward()
    assert value.item() == 0
    assert all(parameter.grad is None or (parameter.grad == 0).all() for parameter in model.parameters())


def test_training_moves_the_profile_onto_the_target(digits: Split) -> None:
    torch.manual_seed(0)
    model = create("mlp", shape=(1, 8, 8), classes=10)
    shown = list(digits.batches(100))
    start = Mimic.of(model, shown)
    lower = Mimic(tuple((layer, 0.8 * target) for layer, target in start.targets))
    objective = CrossEntropy() + 100 * lower
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        for inputs, labels in shown:
            optimiser.zero_grad()
            objective(model, inputs, labels).backward()
            optimiser.step()
    for (layer, target), (_, reached) in zip(lower.targets, Mimic.of(model, shown).targets, strict=True):
        assert reached == pytest.approx(target, rel=0.05), layer


def test_bad_settings_are_refused(network: Callable[[int], nn.Sequential], batch: Callable[[int], Any]) -> None:
    with pytest.raises(SettingError, match="effective-rank, but got 'shannon'"):
        Mimic((("1", 1.0),), measure="shannon")
    with pytest.raises(SettingError, match="effective-rank, but got 'shannon'"):
        Mimic.of(network(3), [batch(3)], measure="shannon")
    with pytest.raises(SettingError, match="one layer at least, but got none"):
        Mimic.of(network(3), [])
    with pytest.raises(LayerError, match="conv1_act"):
        Mimic((("conv1_act", 1.0),))(network(3), *batch(3))


class Twice(nn.Module):
    """One activation in two places, as in torchvision's residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two, self.out, self.act = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3), nn.ReLU()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.out(self.act(self.two(self.act(self.one(inputs)))))


def test_a_module_that_runs_twice_has_two_targets() -> None:
    inputs, labels = torch.rand(8, 4, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3
    model = Twice()
    term = Mimic.of(model, [(inputs, labels)])
    assert [layer for layer, _ in term.targets] == ["act", "act#2"]
    assert term(model, inputs, labels).item() == pytest.approx(0, abs=1e-12)
    assert Mimic((("act", 0.0), ("act#2", 0.0)))(model, inputs, labels).item() > 0
    with pytest.raises(LayerError, match=r"'act#3', which has a target, to run in Twice.*act, act#2"):
        Mimic((("act", 0.0), ("act#3", 0.0)))(model, inputs, labels)
