import builtins
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

import retemper.data
from retemper.data import Split
from retemper.errors import ModelError, SettingError
from retemper.evaluation.reference import Reference, autoattack
from retemper.files import write_json
from retemper.models import create
from retemper.objectives import CrossEntropy
from retemper.threats import L2, Linf
from retemper.training import retrain

STEPS, QUERIES = 20, 100


@pytest.fixture(scope="module", autouse=True)
def _shorter() -> Iterator[None]:
    """The official code as it is, but for fewer steps and queries: in full it takes half a minute a test."""
    ordinary = AutoAttack.run_standard_evaluation

    def run(self: Any, *arguments: Any, **options: Any) -> Any:
        self.square.n_queries = QUERIES
        self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = STEPS
        return ordinary(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoAttack, "run_standard_evaluation", run)
        yield


class Watched(nn.Module):
    """Counts on its own what goes through a network, by hooks on its first layer."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.forwards, self.backwards = network, 0, 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.forwards += len(inputs)
        outputs = self.network(inputs)
        if outputs.requires_grad:
            outputs.register_hook(self._back)
        return outputs

    def _back(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, Split]:
    """A network on the digits and 16 test images, of which some stand."""
    data = retemper.data.load("digits")
    torch.manual_seed(0)
    model = create("mlp", shape=data.shape, classes=10)
    retrain(model, data, CrossEntropy(), epochs=4, learning_rate=5e-3, progress=False)
    return model.eval(), data.test.take(16)


@pytest.fixture(scope="module")
def standard(digits: tuple[nn.Module, Split]) -> Reference:
    model, split = digits
    return autoattack(model, split, Linf(0.12), seed=3)


def test_the_images_that_stand_are_those_of_the_official_code(
    digits: tuple[nn.Module, Split], standard: Reference
) -> None:
    """Run by hand, attack by attack, and counted by other means."""
    model, split = digits
    inputs, labels = split.batch(slice(None))
    watched = Watched(model)
    official = AutoAttack(watched, norm="Linf", eps=0.12, seed=3)
    with torch.random.fork_rng(devices=[]):
        adversarial, answers = official.run_standard_evaluation(inputs, labels)
    model.zero_grad()
    assert standard.version == "standard"
    assert standard.standing.tolist() == (answers == labels).tolist()
    assert 2 <= standard.standing.sum() <= 13, "otherwise there is nothing to compare"
    assert (standard.forwards, standard.backwards) == (watched.forwards, watched.backwards)
    assert standard.accuracy == float((model(adversarial).argmax(1) == labels).float().mean())


def test_the_parts_add_up(digits: tuple[nn.Module, Split], standard: Reference) -> None:
    model, split = digits
    inputs, labels = split.batch(slice(None))
    right = int((model(inputs).argmax(1) == labels).sum())
    assert [part.name for part in standard.parts] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    facing = right
    for part in standard.parts:
        assert part.faced == facing
        facing -= part.broken
        assert part.seconds > 0
    assert facing == standard.standing.sum()
    assert standard.parts[0].broken > 0
    # A gradient at the start and after each step; five checks for randomness, two more, and the clean answers.
    assert standard.parts[0].backwards == (STEPS + 1) * right
    assert standard.parts[-1].backwards == 0
    assert standard.backwards == sum(part.backwards for part in standard.parts)
    assert standard.forwards == sum(part.forwards for part in standard.parts) + 8 * 16
    assert [part.settings for part in standard.parts] == [
        f"{STEPS} steps, 1 restart",
        f"{STEPS} steps, 9 targets",
        f"{STEPS} steps, 9 targets",
        f"{QUERIES} queries",
    ]
    assert standard.seconds > sum(part.seconds for part in standard.parts)


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


def test_a_reference_goes_into_json(standard: Reference, tmp_path: Path) -> None:
    write_json(tmp_path / "reference.json", standard.as_json())
    read = json.loads((tmp_path / "reference.json").read_text())
    assert read["threat"] == "linf:0.12"
    assert read["standing"].count("1") / 16 == read["accuracy"]
    assert read["parts"][0]["name"] == "apgd-ce"
    assert read["package"].startswith("pyautoattack 0.")


def linear(classes: int, features: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(features, classes, bias=False)).to(dtype)


def answered(model: nn.Module, inputs: Tensor) -> Split:
    """The inputs with the model's own answers as labels."""
    return Split(inputs, model(inputs.to(next(model.parameters()).dtype)).argmax(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_two_classes_and_vectors_get_the_custom_version(dtype: torch.dtype) -> None:
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
    assert found.parts[1].settings == f"{STEPS} steps, 1 restart"


def test_vectors_under_l2_do_without_square() -> None:
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
    assert found.parts[1].settings == f"{STEPS} steps, 3 targets"
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


def test_what_cannot_run_is_named() -> None:
    split = answered(linear(2, 4), torch.rand(5, 4))
    with pytest.raises(SettingError, match=r"bounds are \(-1"):
        autoattack(linear(2, 4), split, Linf(0.1, bounds=(-1.0, 1.0)))
    with pytest.raises(SettingError, match=r"needs 4 classes or more.*has 2; take `custom`"):
        autoattack(linear(2, 4), split, Linf(0.1), version="standard")
    with pytest.raises(SettingError, match="standard or custom, but got 'plus'"):
        autoattack(linear(2, 4), split, Linf(0.1), version="plus")

    class Detached(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs.detach())

    torch.manual_seed(0)
    detached = Detached(4, 3)
    with pytest.raises(ModelError, match="cannot run on Detached"):
        autoattack(detached, answered(detached, torch.rand(5, 4)), Linf(0.1))


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pyautoattack":
            raise ImportError(name)
        return ordinary(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError, match=r"pip install 'retemper\[autoattack\]'"):
        autoattack(linear(2, 4), answered(linear(2, 4), torch.rand(5, 4)), Linf(0.1))


@pytest.mark.parametrize(("side", "wide"), [(16, True), (8, False)])
def test_weights_are_channels_last_where_that_pays(side: int, wide: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * (side - 2) ** 2, 4))
    split = answered(model, torch.rand(2, 2, side, side))
    seen = []
    model[0].register_forward_pre_hook(
        lambda layer, _inputs: seen.append(layer.weight.is_contiguous(memory_format=torch.channels_last))
    )
    autoattack(model, split, Linf(0.01))
    assert seen[-1] == wide
    assert model[0].weight.is_contiguous()
