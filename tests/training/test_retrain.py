import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from retemper.data import Data
from retemper.errors import CheckpointError, DivergenceError, ModelError, SettingError
from retemper.models import Network, create, load, smooth
from retemper.models.hashing import weights_hash
from retemper.models.storage import read_facts
from retemper.objectives import ActivationEntropy, CrossEntropy, PGDTraining, as_spec, recipe
from retemper.threats import L2, Linf
from retemper.training import retrain

QUICK = {"epochs": 1, "progress": False}


def test_without_an_objective_it_is_the_recipe(network: Network, digits: Data, tmp_path: Path) -> None:
    by_hand = copy.deepcopy(network)
    training = retrain(network, digits, out=tmp_path, **QUICK)
    expected = retrain(by_hand, digits, recipe(Linf(8 / 255)), **QUICK)
    assert weights_hash(network) == weights_hash(by_hand)
    assert training.identity == expected.identity
    assert training.identity["objective"] == repr(recipe(Linf(8 / 255)))
    assert read_facts(tmp_path / "model.safetensors")["objective"] == as_spec(recipe(Linf(8 / 255)))


def test_the_threat_is_that_of_the_recipe(network: Network, digits: Data) -> None:
    training = retrain(network, digits, threat=L2(0.5), **QUICK)
    assert training.identity["objective"] == repr(recipe(L2(0.5)))


def test_several_threats_are_those_of_the_recipe(network: Network, digits: Data) -> None:
    threats = [Linf(0.1), L2(0.5)]
    assert retrain(network, digits, threat=threats, **QUICK).identity["objective"] == repr(recipe(threats))
    kept = retrain(network, digits, threat=threats, give_up=1.0, **QUICK)
    assert kept.identity["objective"] == repr(recipe(threats))


def test_smooth_swaps_activations_before_training(network: Network, digits: Data, tmp_path: Path) -> None:
    by_hand = copy.deepcopy(network)
    smooth(by_hand)
    training = retrain(network, digits, CrossEntropy(), smooth=True, out=tmp_path, **QUICK)
    expected = retrain(by_hand, digits, CrossEntropy(), **QUICK)
    assert weights_hash(network) == weights_hash(by_hand)
    assert training.history[0]["loss"] == expected.history[0]["loss"]
    again = load(tmp_path / "model.safetensors")
    inputs, _ = digits.test.batch(slice(0, 5))
    assert torch.equal(again(inputs), network.eval()(inputs))


def test_a_run_with_swapped_activations_is_another_run(network: Network, digits: Data, tmp_path: Path) -> None:
    other = copy.deepcopy(network)
    retrain(network, digits, CrossEntropy(), out=tmp_path, **QUICK)
    with pytest.raises(CheckpointError, match="differs in architecture"):
        retrain(other, digits, CrossEntropy(), smooth=True, out=tmp_path, **QUICK)


@pytest.mark.parametrize("smoothed", [False, True])
def test_a_killed_run_goes_on_to_the_same_weights(
    network: Network, digits: Data, tmp_path: Path, smoothed: bool, killed_after
) -> None:  # type: ignore[no-untyped-def]  # a fixture
    whole, again = copy.deepcopy(network), copy.deepcopy(network)
    settings = {"smooth": smoothed, "epochs": 3, "progress": False}
    retrain(whole, digits, **settings)
    with killed_after(2):
        retrain(network, digits, out=tmp_path, **settings)
    retrain(again, digits, out=tmp_path, **settings)
    assert weights_hash(again) == weights_hash(whole)


@pytest.mark.parametrize("beside", [{"threat": Linf(0.1)}, {"give_up": 0.01}, {"threat": Linf(0.1), "give_up": 0.0}])
def test_a_threat_or_budget_beside_an_objective_is_an_error(network: Network, digits: Data, beside: dict) -> None:
    before = weights_hash(network)
    with pytest.raises(SettingError, match=r"beside the objective PGDTraining.*leave out `objective`"):
        retrain(network, digits, PGDTraining(Linf(0.1)), smooth=True, **beside, **QUICK)
    assert weights_hash(network) == before
    assert type(network.dense1_act) is nn.ReLU


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"give_up": 1.5}, "`give_up` to be a share"),
        ({"give_up": float("nan")}, "`give_up` to be a share"),
        ({"momentum": 3}, "no setting 'momentum'"),
        ({"epochs": 0}, "`epochs` to be 1 or more"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_swapped(
    network: Network, digits: Data, settings: dict, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        retrain(network, digits, smooth=True, **{"progress": False, **settings})
    assert type(network.dense1_act) is nn.ReLU


def test_a_model_of_other_classes_is_refused_before_anything_is_swapped(digits: Data) -> None:
    model = create("mlp", shape=digits.shape, classes=3)
    with pytest.raises(ModelError, match="3 logits"):
        retrain(model, digits, smooth=True, **QUICK)
    assert model.spec.activation == "relu"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": nn.Flatten}, "`model` to be of Module, but got the class Flatten"),
        ({"data": [1, 2]}, "`data` to be of Data, but got list; retemper.load"),
        ({"objective": "entropic"}, "`objective` to be of Objective, but got str; such as CrossEntropy"),
        ({"threat": "linf:0.1"}, "Expected threats, such as Linf"),
        ({"threat": []}, "at least one threat"),
    ],
)
def test_what_is_of_another_kind_is_refused_by_name(network: Network, digits: Data, change: dict, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        retrain(**({"model": network, "data": digits, "progress": False} | change))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_callers_mode_without_gradients_does_not_reach_the_training(
    network: Network, digits: Data, mode: Callable[[], Any]
) -> None:
    other = copy.deepcopy(network)
    with mode():
        retrain(network, digits, CrossEntropy(), **QUICK)
    retrain(other, digits, CrossEntropy(), **QUICK)
    assert weights_hash(network) == weights_hash(other)


class Counting(nn.Flatten):
    def get_extra_state(self) -> int:
        return 3


def test_a_model_that_cannot_be_written_is_refused_before_it_is_trained(digits: Data, tmp_path: Path) -> None:
    model = nn.Sequential(Counting(), nn.Linear(64, 10))
    before = model[1].weight.clone()
    with pytest.raises(ModelError, match=r"0\._extra_state \(int\)"):
        retrain(model, digits, CrossEntropy(), out=tmp_path / "run", epochs=1, progress=False)
    assert torch.equal(model[1].weight, before)
    assert not (tmp_path / "run").exists()
    retrain(model, digits, CrossEntropy(), epochs=1, progress=False)
    assert not torch.equal(model[1].weight, before)


def test_a_model_without_rectifiers_is_not_made_smooth(digits: Data) -> None:
    model = create("mlp", shape=digits.shape, classes=10, activation="tanh")
    with pytest.raises(ModelError, match="has none"):
        retrain(model, digits, smooth=True, **QUICK)


@pytest.mark.parametrize("failure", ["another run", "diverged"])
def test_where_the_training_fails_the_activations_are_as_they_were(
    failure: str, network: Network, digits: Data, tmp_path: Path
) -> None:
    if failure == "another run":
        retrain(copy.deepcopy(network), digits, CrossEntropy(), out=tmp_path, **QUICK)
        settings, error = QUICK, CheckpointError
    else:
        settings, error = {**QUICK, "learning_rate": 1e30, "optimiser": "sgd"}, DivergenceError
    start = copy.deepcopy(network.state_dict())
    with pytest.raises(error):
        retrain(network, digits, CrossEntropy(), smooth=True, out=tmp_path, **settings)
    assert type(network.dense1_act) is nn.ReLU
    assert network.spec.activation == "relu"
    network.load_state_dict(start)
    retrain(network, digits, CrossEntropy(), smooth=True, out=tmp_path / "other", **QUICK)
    assert network.spec.activation == "silu"


def test_a_run_begun_anew_over_a_finished_one_can_be_killed_and_gone_on_with(
    network: Network, digits: Data, tmp_path: Path, killed_after
) -> None:  # type: ignore[no-untyped-def]  # a fixture
    start, settings = copy.deepcopy(network), {"epochs": 3, "progress": False}
    retrain(copy.deepcopy(start), digits, CrossEntropy(), out=tmp_path, **settings)
    other = CrossEntropy() + 0.5 * ActivationEntropy()
    whole = copy.deepcopy(start)
    retrain(whole, digits, other, **settings)
    with killed_after(2):
        retrain(copy.deepcopy(start), digits, other, out=tmp_path, resume=False, **settings)
    assert (tmp_path / "model.safetensors").is_file(), "what was there stays until there is something better"
    again = copy.deepcopy(start)
    retrain(again, digits, other, out=tmp_path, **settings)
    assert weights_hash(again) == weights_hash(whole)
