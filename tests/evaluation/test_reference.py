import builtins
import json
from pathlib import Path
from typing import Any

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
from retemper.threats import Linf
from retemper.training import retrain

pytestmark = pytest.mark.usefixtures("shorter")


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
def standard(digits: tuple[nn.Module, Split], shorter: tuple[int, int]) -> Reference:
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


def test_the_parts_add_up(digits: tuple[nn.Module, Split], standard: Reference, shorter: tuple[int, int]) -> None:
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
    assert standard.parts[0].backwards == (shorter[0] + 1) * right
    assert standard.parts[-1].backwards == 0
    assert standard.backwards == sum(part.backwards for part in standard.parts)
    assert standard.forwards == sum(part.forwards for part in standard.parts) + 8 * 16
    assert [part.settings for part in standard.parts] == [
        f"{shorter[0]} steps, 1 restart",
        f"{shorter[0]} steps, 9 targets",
        f"{shorter[0]} steps, 9 targets",
        f"{shorter[1]} queries",
    ]
    assert standard.seconds > sum(part.seconds for part in standard.parts)


def test_a_reference_goes_into_json(standard: Reference, tmp_path: Path) -> None:
    write_json(tmp_path / "reference.json", standard.as_json())
    read = json.loads((tmp_path / "reference.json").read_text())
    assert read["threat"] == "linf:0.12"
    assert read["standing"].count("1") / 16 == read["accuracy"]
    assert read["parts"][0]["name"] == "apgd-ce"
    assert read["package"].startswith("pyautoattack 0.")


def test_what_cannot_run_is_named() -> None:
    model, split = nn.Linear(4, 2), Split(torch.rand(5, 4), torch.zeros(5, dtype=torch.long))
    with pytest.raises(SettingError, match=r"bounds are \(-1"):
        autoattack(model, split, Linf(0.1, bounds=(-1.0, 1.0)))
    with pytest.raises(SettingError, match=r"needs 4 classes or more.*has 2; take `custom`"):
        autoattack(model, split, Linf(0.1), version="standard")
    with pytest.raises(SettingError, match="standard or custom, but got 'plus'"):
        autoattack(model, split, Linf(0.1), version="plus")
    with pytest.raises(SettingError, match="`seed`"):
        autoattack(model, split, Linf(0.1), seed=-1)

    class Detached(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs.detach())

    detached = Detached(4, 3)
    nn.init.ones_(detached.weight[:1])  # class 0, so that there is something to attack
    with pytest.raises(ModelError, match="cannot run on Detached"):
        autoattack(detached, split, Linf(0.1))


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "pyautoattack":
            raise ImportError(name)
        return ordinary(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError, match=r"pip install 'retemper\[autoattack\]'"):
        autoattack(nn.Linear(4, 2), Split(torch.rand(5, 4), torch.zeros(5, dtype=torch.long)), Linf(0.1))


@pytest.mark.parametrize(("side", "wide"), [(16, True), (8, False)])
def test_weights_are_channels_last_where_that_pays(side: int, wide: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * (side - 2) ** 2, 4))
    inputs = torch.rand(2, 2, side, side)
    split = Split(inputs, model(inputs).argmax(1))
    seen = []
    model[0].register_forward_pre_hook(
        lambda layer, _inputs: seen.append(layer.weight.is_contiguous(memory_format=torch.channels_last))
    )
    autoattack(model, split, Linf(0.01))
    assert seen[-1] == wide
    assert model[0].weight.is_contiguous()
