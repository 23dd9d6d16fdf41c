import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from retemper.data import load
from retemper.models import load as load_model
from retemper.models.hashing import weights_hash
from retemper.models.silu import SiLU
from retemper.objectives import CrossEntropy
from retemper.studies import ways
from retemper.studies.ways import Way, tuned
from retemper.threats import L2


def test_the_most_robust_way_is_chosen_among_those_that_answer_about_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reached = {"robust but wrong": (0.5, 0.5), "plain": (0.95, 0.3), "best": (0.945, 0.4), "rest": (0.93, 0.45)}
    monkeypatch.setattr(Way, "train", lambda way, *_arguments, **_settings: (way.name, None))

    def found(name: str, *_arguments: Any, **_settings: Any) -> SimpleNamespace:
        clean, robust = reached[name]
        return SimpleNamespace(clean=np.array([clean]), robustness=[SimpleNamespace(accuracy=robust)])

    monkeypatch.setattr(ways, "tried", found)
    candidates = [Way(name, CrossEntropy(), "mlp") for name in reached]
    digits = load("digits")

    def choose(floor: float | None) -> str:
        best, trials = tuned(candidates, digits, [L2(0.5)], tmp_path, epochs=1, images=10, progress=False, floor=floor)
        assert {trial.way: (trial.clean, trial.robust) for trial in trials} == reached
        return best.name

    assert choose(None) == "best"
    assert choose(0.92) == "rest"
    assert choose(0.99) == "best"


def test_a_way_trains_as_its_settings_say_and_is_read_back(tmp_path: Path) -> None:
    data = load("digits", classes=("3", "8"))
    way = Way("sgd", CrossEntropy(), "mlp", activation="tanh", settings={"optimiser": "sgd", "learning_rate": 0.01})
    first, training = way.train(data, tmp_path, epochs=2, seed=3, progress=False)
    assert any(isinstance(module, torch.nn.Tanh) for module in first.modules())
    assert not first.training
    written = (tmp_path / "model.safetensors").stat().st_mtime_ns
    again, read = way.train(data, tmp_path, epochs=2, seed=3, progress=False)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == written
    assert read.seconds == training.seconds > 0
    for ours, theirs in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_ways_with_a_base_go_on_from_the_same_plainly_trained_network(tmp_path: Path) -> None:
    data = load("digits", classes=("3", "8"))
    way = Way("more", CrossEntropy(), "mlp", base_epochs=3)
    model, training = way.train(data, tmp_path / "more-1", epochs=2, seed=1, progress=False)
    base, _ = Way("plain", CrossEntropy(), "mlp").train(data, tmp_path / "plain", epochs=3, seed=1, progress=False)
    assert (tmp_path / "base-mlp-relu-3-1" / "model.safetensors").is_file()
    assert training.identity["start"] == weights_hash(base)
    assert len(training.history) == 2
    assert weights_hash(model) != weights_hash(base)


def test_a_way_may_swap_the_activations_of_its_base(tmp_path: Path) -> None:
    data = load("digits", classes=("3", "8"))
    way = Way("swapped", CrossEntropy(), "mlp", base_epochs=1, smooth=True)
    model, _ = way.train(data, tmp_path / "swapped-0", epochs=1, seed=0, progress=False)
    kinds = {type(module) for module in model.modules()}
    assert SiLU in kinds
    assert torch.nn.ReLU not in kinds
    base = load_model(tmp_path / "base-mlp-relu-1-0" / "model.safetensors")
    assert any(type(module) is torch.nn.ReLU for module in base.modules())
    again, _ = way.train(data, tmp_path / "swapped-0", epochs=1, seed=0, progress=False)
    assert weights_hash(again) == weights_hash(model)


def test_a_way_may_have_epochs_of_its_own(tmp_path: Path) -> None:
    data = load("digits", classes=("3", "8"))
    way = Way("short", CrossEntropy(), "mlp", epochs=1)
    _, training = way.train(data, tmp_path / "short-0", epochs=3, seed=0, progress=False)
    assert len(training.history) == 1


CONTENDING = """
import sys, torch
from pathlib import Path
from retemper.data import load
from retemper.objectives import CrossEntropy
from retemper.studies.ways import Way
torch.set_num_threads(1)
way = Way(sys.argv[1], CrossEntropy(), "mlp", base_epochs=10)
way.train(load("digits"), Path(sys.argv[2]) / sys.argv[1], epochs=1, seed=0, progress=False)
"""


def test_two_processes_that_want_the_same_base_do_not_disturb_each_other(tmp_path: Path) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", CONTENDING, name, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    trained = [load_model(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    assert weights_hash(trained[0]) == weights_hash(trained[1])
