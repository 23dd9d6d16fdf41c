import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retemper.data import Data
from retemper.errors import CheckpointError, ModelError, SettingError
from retemper.evaluation import evaluate, plan
from retemper.models import load as load_model
from retemper.models import predict
from retemper.objectives import CrossEntropy, ForwardPass, InputGradient, WeightedSum
from retemper.threats import L2, Linf
from retemper.training import retrain
from retemper.tuning import Tuned, score, tune

THREATS = [Linf(0.1), L2(0.5)]


def penalised(size: float) -> WeightedSum:
    return CrossEntropy() + size * InputGradient()


def run(model: nn.Module, data: Data, objective: Callable[[float], WeightedSum] = penalised, **settings: Any) -> Tuned:
    return tune(model, data, objective, THREATS, images=40, progress=False, **{"epochs": 2, **settings})


def measured(model: nn.Module, data: Data) -> tuple[float, float]:
    """Clean accuracy on all validation images, robust accuracy on the first 40."""
    outputs, labels = predict(model, data.validation.batches(100))
    found = evaluate(
        model,
        data.validation.take(40),
        THREATS,
        attacks=plan(score.ATTACKS, steps=score.STEPS),
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
    assert (as_it_was.clean, as_it_was.robust) == pytest.approx(measured(trained, data))
    assert [trial.weight for trial in tuned.trials[:2]] == [0, 0.1]
    allowed = [trial for trial in tuned.trials if trial.clean >= as_it_was.clean - 0.05]
    chosen = max(allowed, key=lambda trial: trial.robust)
    assert tuned.weight == chosen.weight > 0
    assert measured(model, data) == pytest.approx((chosen.clean, chosen.robust))
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


class Counting(nn.Module):
    """A network that counts the batches that it was trained on, in a buffer that is not saved."""

    batches: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("batches", torch.zeros(()), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        self.batches += self.training
        return self.network(inputs)


@pytest.mark.parametrize("sign", [-1, 1])
def test_buffers_that_are_not_saved_are_those_of_the_chosen_weight(trained: nn.Module, data: Data, sign: int) -> None:
    model = Counting(copy.deepcopy(trained))
    tuned = run(
        model, data, lambda size: sign * penalised(size), tries=3, first=0.1, give_up=0.05, batch_size=1000, epochs=3
    )
    assert (tuned.weight > 0) == (sign > 0)
    assert model.batches == (3 if sign > 0 else 0)


class Explodes(CrossEntropy):
    def value(self, forward: ForwardPass) -> Tensor:
        return super().value(forward) * float("nan")


def test_a_weight_that_makes_the_loss_nan_is_a_failed_try(trained: nn.Module, data: Data, tmp_path: Path) -> None:
    model = copy.deepcopy(trained)

    def objective(size: float) -> WeightedSum:
        return penalised(size) if size < 50 else 1.0 * Explodes()

    tuned = run(model, data, objective, tries=2, first=100.0, give_up=0.5, out=tmp_path)
    assert [(trial.clean, trial.robust) for trial in tuned.trials[1:2]] == [(0.0, 0.0)]
    assert tuned.trials[2].weight == pytest.approx(100 / 3)
    assert tuned.weight in (0, tuned.trials[2].weight)


def test_with_patience_each_weight_counts_by_its_best_epoch(trained: nn.Module, data: Data, tmp_path: Path) -> None:
    model = copy.deepcopy(trained)
    tuned = run(model, data, tries=1, first=3.0, give_up=0.03, epochs=6, patience=2, out=tmp_path)
    history = json.loads((tmp_path / "weight 3" / "training.json").read_text())["history"]
    scores = [row["score"] for row in history]
    best = scores.index(max(scores))
    trial = tuned.trials[1]
    assert trial.clean == history[best]["validation_accuracy"]
    floor = tuned.trials[0].clean - 0.03
    assert scores[best] == pytest.approx(trial.robust if trial.clean >= floor else trial.clean - 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": 0.0}, "`first` to be a weight above 0, but got 0"),
        ({"give_up": 1.5}, "`give_up` to be a share"),
        ({"tries": 0}, "`tries` to be 1 or more"),
        ({"patience": 0}, "`patience` to be 1 or more"),
        ({"momentum": 3}, "no setting 'momentum'"),
        ({"smooth": True}, "first retrain it with `smooth=True`"),
    ],
)
def test_bad_settings_are_refused(trained: nn.Module, data: Data, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        run(copy.deepcopy(trained), data, **settings)


def test_the_first_weight_stays_where_others_are_about_as_good(
    trained: nn.Module, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, lucky = copy.deepcopy(trained), iter([0.5, 0.7, 0.725, 0.675])

    def withstood(*_arguments: Any, **_settings: Any) -> np.ndarray:
        """Of 40 images one more with the second weight than with the first."""
        return (np.arange(40) < 40 * next(lucky)).astype(float)

    monkeypatch.setattr(score.RobustScore, "withstood", withstood)
    tuned = run(model, data, tries=3, first=0.1, give_up=0.5, out=tmp_path)
    assert [trial.robust for trial in tuned.trials] == [0.5, 0.7, 0.725, 0.675]
    assert tuned.weight == 0.1
    kept = load_model(tmp_path / "weight 0.1" / "model.safetensors")
    for ours, theirs in zip(model.parameters(), kept.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_layers_that_are_made_lazily_can_be_tuned_and_gone_on_with(data: Data, tmp_path: Path) -> None:
    def lazy() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(2))

    settings = {"tries": 1, "epochs": 1, "out": tmp_path}
    assert run(lazy(), data, **settings) == run(lazy(), data, **settings)


def test_a_model_of_other_classes_is_refused_before_any_attack(data: Data, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="returns 3 logits"):
        run(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), data, out=tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_weights_that_no_search_of_ours_wrote_are_not_written_over(
    trained: nn.Module, data: Data, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(CheckpointError, match=r"no search\.json"):
        run(copy.deepcopy(trained), data, tries=1, out=tmp_path)
    assert (tmp_path / "model.safetensors").read_text() == "mine"


def test_another_search_or_run_does_not_take_the_place_of_one_that_is_there(
    trained: nn.Module, data: Data, tmp_path: Path
) -> None:
    tuned = run(copy.deepcopy(trained), data, tries=1, first=0.1, out=tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert set(files) == {"model.safetensors", "search.json", "tuned.json"}
    others: dict[str, dict[str, Any]] = {
        "give_up (was 0.01, is 0.5)": {"give_up": 0.5},
        "settings (epochs was 2, is 3)": {"epochs": 3},
        "objective": {"objective": lambda weight: CrossEntropy() + weight * InputGradient("loss")},
        "first (was 0.1, is 0.2)": {"first": 0.2},
    }
    for words, change in others.items():
        changed = {"tries": 1, "first": 0.1, **change}
        with pytest.raises(CheckpointError, match="another search for a weight: it differs in") as error:
            run(copy.deepcopy(trained), data, out=tmp_path, **changed)
        assert words in str(error.value)
    for settings in ({"objective": CrossEntropy()}, {"threat": Linf(0.1), "give_up": 0.9}):
        with pytest.raises(CheckpointError, match=r"no training\.json"):
            retrain(copy.deepcopy(trained), data, out=tmp_path, epochs=1, progress=False, **settings)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == files
    assert run(copy.deepcopy(trained), data, tries=1, first=0.1, out=tmp_path) == tuned
    # Begun anew, another one has the folder to itself, and so has a training.
    assert run(copy.deepcopy(trained), data, tries=1, first=0.2, out=tmp_path, resume=False).trials[1].weight == 0.2
    retrain(copy.deepcopy(trained), data, CrossEntropy(), out=tmp_path, epochs=1, progress=False, resume=False)
    assert not (tmp_path / "search.json").exists()
    assert not (tmp_path / "tuned.json").exists()


def test_begun_anew_and_killed_it_goes_on_whatever_an_earlier_one_tried(
    trained: nn.Module, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(copy.deepcopy(trained), data, tries=2, out=tmp_path, epochs=1)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("retemper.tuning.weight.retrain", killed)
        with pytest.raises(KeyboardInterrupt):
            run(copy.deepcopy(trained), data, tries=2, out=tmp_path, epochs=2, resume=False)
    again = run(copy.deepcopy(trained), data, tries=2, out=tmp_path, epochs=2)
    assert again == run(trained, data, tries=2, epochs=2)


def test_what_is_no_function_of_a_weight_is_refused_before_any_attack(trained: nn.Module, data: Data) -> None:
    with pytest.raises(SettingError, match="a function of the weight, such as entropic_retraining, but got"):
        tune(trained, data, CrossEntropy(), THREATS, progress=False)  # type: ignore[arg-type]  # on purpose


def test_a_weight_whose_last_step_diverges_is_a_failed_try(trained: nn.Module, data: Data) -> None:
    model = copy.deepcopy(trained)
    settings = {"epochs": 1, "batch_size": 2000, "optimiser": "sgd", "learning_rate": 1e-3, "precision": "fp32"}
    tuned = run(model, data, lambda weight: (1e30 * weight) * CrossEntropy(), tries=2, **settings)
    assert tuned.weight == 0
    assert [(trial.clean, trial.robust) for trial in tuned.trials[1:]] == [(0.0, 0.0)] * 2
    assert all(torch.equal(own, trained.state_dict()[name]) for name, own in model.state_dict().items())


class Halting(CrossEntropy):
    """Stands for somebody who presses Ctrl-C in the second step."""

    steps = 0

    def value(self, forward: ForwardPass) -> Tensor:
        type(self).steps += 1
        if self.steps > 1:
            raise KeyboardInterrupt
        return super().value(forward)


def test_a_search_that_is_stopped_leaves_the_model_as_it_was(trained: nn.Module, data: Data) -> None:
    model = copy.deepcopy(trained)
    with pytest.raises(KeyboardInterrupt):
        run(model, data, lambda weight: weight * Halting(), tries=1)
    assert Halting.steps > 1
    assert all(torch.equal(own, trained.state_dict()[name]) for name, own in model.state_dict().items())


def test_the_search_ends_where_a_weight_comes_again(
    trained: nn.Module, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = iter([0.1, 0.05, 0.100001])
    monkeypatch.setattr("retemper.tuning.weight.following", lambda *_arguments: next(weights))
    tuned = run(copy.deepcopy(trained), data, tries=5, epochs=1, out=tmp_path)
    assert [trial.weight for trial in tuned.trials] == [0, 0.1, 0.05]


def test_numbers_of_numpys_make_the_same_search(trained: nn.Module, data: Data, tmp_path: Path) -> None:
    theirs = {"first": np.float32(0.5), "give_up": np.float64(0.25), "tries": np.int64(1), "patience": np.int64(1)}
    found = run(copy.deepcopy(trained), data, out=tmp_path, **theirs)
    assert run(trained, data, out=tmp_path, **{name: number.item() for name, number in theirs.items()}) == found


def test_a_first_weight_that_is_no_number_is_named(trained: nn.Module, data: Data) -> None:
    with pytest.raises(SettingError, match=r"`first` to be a number, but got '0\.1'"):
        run(trained, data, first="0.1")
