import logging
import sys
from typing import Any

import numpy as np
import pytest
import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from retemper.data import Split
from retemper.evaluation.reference import autoattack
from retemper.threats import L2, Linf

pytestmark = pytest.mark.usefixtures("shorter")


def linear(classes: int, features: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes, bias=False)).to(dtype)


def answered(model: nn.Module, inputs: Tensor) -> Split:
    """The inputs with the model's own answers as labels."""
    return Split(inputs, model(inputs.to(next(model.parameters()).dtype)).argmax(1))


@pytest.mark.parametrize(
    ("classes", "attacks", "targets"),
    [
        (2, ["apgd-ce", "fab", "square"], 1),
        (4, ["apgd-ce", "apgd-t", "fab-t", "square"], 3),
        (12, ["apgd-ce", "apgd-t", "fab-t", "square"], 9),
    ],
)
def test_the_official_settings_are_left_as_they_are(
    classes: int, attacks: list[str], targets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def look(self: Any, _inputs: Tensor, labels: Tensor, batch_size: int) -> tuple[None, Tensor]:
        asked.update(vars(self), batch_size=batch_size)
        return None, labels

    monkeypatch.setattr(AutoAttack, "run_standard_evaluation", look)
    autoattack(linear(classes, 4), answered(linear(classes, 4), torch.rand(5, 4)), Linf(0.1), batch_size=2, seed=7)
    assert asked["attacks_to_run"] == attacks
    assert (asked["epsilon"], asked["norm"], asked["seed"], asked["batch_size"]) == (0.1, "Linf", 7, 2)
    for name in ("apgd", "apgd_targeted", "fab"):
        assert (asked[name].n_iter, asked[name].n_restarts) == (100, 1)
    assert asked["apgd_targeted"].n_target_classes == asked["fab"].n_target_classes == targets
    assert asked["square"].n_queries == 5000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_classes_and_vectors_get_the_custom_version(dtype: torch.dtype, shorter: tuple[int, int]) -> None:
    """On a linear model, away from the bounds, exactly the images with a margin above r ||w||_1 stand."""
    model = linear(2, 12, dtype)
    inputs = 0.5 + 0.1 * (torch.rand(12, 12, generator=torch.Generator().manual_seed(0)) - 0.5)
    split = answered(model, inputs)
    weights = (model[1].weight[1] - model[1].weight[0]).detach().double()
    distances = (inputs.double() @ weights).abs() / weights.abs().sum()
    radius = float(distances.sort().values[5:7].mean())
    found = autoattack(model, split, Linf(radius))
    assert found.version == "custom"
    assert found.standing.tolist() == (distances > radius).tolist()
    assert found.left_out == {}
    assert [part.name for part in found.parts] == ["apgd-ce", "fab", "square"]
    assert found.parts[1].settings == f"{shorter[0]} steps, 1 restart"


def test_vectors_under_l2_do_without_square(shorter: tuple[int, int]) -> None:
    """Four classes, so that the targeted attacks run, at three targets."""
    model = linear(4, 6)
    inputs = 0.5 + 0.05 * (torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) - 0.5)
    split = answered(model, inputs)
    weights = model[1].weight.detach().double()
    scores = inputs.double() @ weights.T
    distances = []
    for score, label in zip(scores, split.labels, strict=True):
        others = [other for other in range(4) if other != label]
        distances.append(min(float((score[label] - score[o]) / (weights[label] - weights[o]).norm()) for o in others))
    radius = float(np.sort(distances)[3:5].mean())
    found = autoattack(model, split, L2(radius), batch_size=3)
    assert found.version == "standard"
    assert "5 rows" in found.left_out["square"]
    assert [part.name for part in found.parts] == ["apgd-ce", "apgd-t", "fab-t"]
    assert found.parts[1].settings == f"{shorter[0]} steps, 3 targets"
    assert found.standing.tolist() == [distance > radius for distance in distances]


def test_nothing_of_the_callers_is_touched(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 3)).train()
    model[2].bias.requires_grad_(False)
    model[2].weight.grad = torch.ones(3, 6)
    split = answered(model.eval(), torch.rand(4, 6))
    model.train()
    state, kept = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}

    def trace(*_: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with torch.inference_mode():
            first = autoattack(model, split, Linf(1e-3))
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == [True] * 4
    assert (model[2].weight.requires_grad, model[2].bias.requires_grad) == (True, False)
    assert torch.equal(model[2].weight.grad, torch.ones(3, 6))
    torch.rand(3)
    again = autoattack(model, split, Linf(1e-3))
    assert [part.name for part in first.parts] == ["apgd-ce", "fab", "square"]
    assert first.warnings == (), "it would see dropout as a randomised defence"
    assert first.standing.tolist() == again.standing.tolist()
    assert [(p.broken, p.forwards) for p in first.parts] == [(p.broken, p.forwards) for p in again.parts]
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []


def test_images_that_are_all_answered_wrongly_face_no_attack() -> None:
    model = linear(3, 4)
    split = answered(model, torch.rand(5, 4))
    found = autoattack(model, Split(split.inputs, (split.labels + 1) % 3), Linf(0.1))
    assert found.parts == ()
    assert found.accuracy == 0
    assert (found.forwards, found.backwards) == (8 * 5, 0)


class Shifted(nn.Module):
    """Gives class 0 a head start."""

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs + torch.tensor([2.0, 0.0, 0.0, 0.0])


def test_what_the_official_code_warns_of_is_kept_here(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = nn.Sequential(linear(3, 4), nn.Softmax(1))
    found = autoattack(model, answered(linear(3, 4), torch.rand(3, 4)), Linf(0.9))
    assert any("probability distribution" in warning for warning in found.warnings)
    constant = linear(4, 4)
    nn.init.zeros_(constant[1].weight)
    constant.append(Shifted())
    found = autoattack(constant, answered(constant, torch.rand(3, 4)), Linf(0.1))
    assert any("3 points with zero gradient" in warning for warning in found.warnings)
    assert len(found.warnings) == 1, "each is kept once"
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []


def test_a_run_without_square_takes_it_from_no_later_run() -> None:
    model = linear(2, 4)
    split = answered(model, 0.5 + 0.1 * torch.rand(3, 4, generator=torch.Generator().manual_seed(0)))
    for _ in range(2):
        assert "square" in autoattack(model, split, L2(1e-4)).left_out
        found = autoattack(model, split, Linf(1e-4))
        assert [part.name for part in found.parts] == ["apgd-ce", "fab", "square"]
