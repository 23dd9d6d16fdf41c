import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from retemper.data import Data, load
from retemper.errors import SettingError
from retemper.evaluation import evaluate, plan
from retemper.models import create, predict
from retemper.models import load as load_model
from retemper.objectives import CrossEntropy, InputGradient, WeightedSum
from retemper.threats import L2, Linf
from retemper.training import retrain
from retemper.tuning import Tuned, tune, weight

THREATS = [Linf(0.1), L2(0.5)]


def penalised(size: float) -> WeightedSum:
    return CrossEntropy() + size * InputGradient()


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", classes=("3", "8"))


@pytest.fixture(scope="module")
def trained(data: Data) -> nn.Module:
    torch.manual_seed(0)
    model = create("mlp", shape=data.shape, classes=2)
    retrain(model, data, CrossEntropy(), epochs=15, progress=False)
    return model


def run(model: nn.Module, data: Data, objective: Callable[[float], WeightedSum] = penalised, **settings: Any) -> Tuned:
    return tune(model, data, objective, THREATS, images=40, epochs=2, progress=False, **settings)


def measured(model: nn.Module, data: Data) -> tuple[float, float]:
    """Clean accuracy on all validation images, robust accuracy on the first 40."""
    outputs, labels = predict(model, data.validation.batches(100))
    found = evaluate(
        model,
        data.validation.take(40),
        THREATS,
        attacks=plan(weight.ATTACKS, steps=weight.STEPS),
        alarms=False,
        progress=False,
    )
    robust = [each.accuracy for each in found.robustness]
    return float((outputs.argmax(1) == labels).double().mean()), sum(robust) / 2


def test_the_model_is_left_with_the_best_weight_and_a_killed_run_goes_on(
    trained: nn.Module, data: Data, tmp_path: Path
) -> None:
    model = copy.deepcopy(trained)
    tuned = run(model, data, tries=3, first=0.1, give_up=0.05, out=tmp_path)
    as_it_was = tuned.trials[0]
    assert (as_it_was.clean, as_it_was.robust) == measured(trained, data)
    assert [trial.weight for trial in tuned.trials[:2]] == [0, 0.1]
    allowed = [trial for trial in tuned.trials if trial.clean >= as_it_was.clean - 0.05]
    chosen = max(allowed, key=lambda trial: trial.robust)
    assert tuned.weight == chosen.weight > 0
    assert measured(model, data) == (chosen.clean, chosen.robust)
    assert chosen.robust > as_it_was.robust
    assert json.loads((tmp_path / "tuned.json").read_text()) == json.loads(json.dumps(tuned.as_json()))
    best = load_model(tmp_path / "model.safetensors")
    assert all(torch.equal(ours, kept) for ours, kept in zip(model.parameters(), best.parameters(), strict=True))
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("weight*/*.safetensors")}
    again = copy.deepcopy(trained)
    assert run(again, data, tries=3, first=0.1, give_up=0.05, out=tmp_path) == tuned
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("weight*/*.safetensors")} == kept
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_model_that_only_loses_is_left_as_it_was(trained: nn.Module, data: Data) -> None:
    model = copy.deepcopy(trained)
    tuned = run(model, data, lambda size: -size * CrossEntropy(), tries=1, first=1.0, give_up=0.0)
    assert tuned.trials[1].clean < tuned.trials[0].clean
    assert tuned.weight == 0
    for ours, theirs in zip(model.parameters(), trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": 0.0}, "`first` to be a weight above 0, but got 0"),
        ({"give_up": 1.5}, "`give_up` to be a share"),
        ({"tries": 0}, "`tries` to be 1 or more"),
        ({"patience": 3}, "no setting 'patience'"),
    ],
)
def test_bad_settings_are_refused(trained: nn.Module, data: Data, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        run(copy.deepcopy(trained), data, **settings)
