import pytest
import torch
from torch import nn

from retemper.errors import SettingError
from retemper.information import MEASURES
from retemper.objectives import (
    PRESETS,
    ActivationEntropy,
    CrossEntropy,
    Differential,
    InputGradient,
    Jacobian,
    Mimic,
    Objective,
    OneOf,
    differential_training,
    entropic_retraining,
    mimicking,
    preset,
    recipe,
    recipe_or_jacobian,
)
from retemper.threats import L2, Linf

THREAT = Linf(0.1)
THREATS = [THREAT]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_and_trains(name: str) -> None:
    chosen, objective = preset(name, THREATS)
    assert chosen is PRESETS[name]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    loss = objective(model, torch.rand(6, 5), torch.arange(6) % 3)
    loss.backward()
    assert loss.isfinite()
    assert chosen.summary


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("plain", CrossEntropy()),
        ("entropic", entropic_retraining()),
        ("entropic:0.05", CrossEntropy() + 0.05 * ActivationEntropy("all", "activation", every=4)),
        (" entropic:5e-2 ", CrossEntropy() + 0.05 * ActivationEntropy("all", "activation", every=4)),
        ("differential", differential_training()),
        ("differential:0.2", Differential() + 0.2 * InputGradient("scores", "l2", squared=True)),
        ("differential:0", 1 * Differential()),
        ("differential-bare", 1 * Differential()),
        ("recipe", recipe(THREAT)),
        ("recipe:0.5", recipe(THREAT, 0.5)),
        ("recipe-or-jacobian", OneOf((recipe(THREAT), CrossEntropy() + 0.3 * Jacobian()))),
        ("recipe-or-jacobian:0.1", OneOf((recipe(THREAT), CrossEntropy() + 0.1 * Jacobian()))),
        ("jacobian", CrossEntropy() + 0.3 * Jacobian()),
        ("jacobian:0.1", CrossEntropy() + 0.1 * Jacobian()),
        ("input-gradient:0.3", CrossEntropy() + 0.3 * InputGradient("scores", "l2", squared=True)),
    ],
)
def test_a_preset_is_the_formula_that_its_name_and_weight_say(text: str, objective: Objective) -> None:
    assert repr(preset(text, THREATS)[1]) == repr(objective)


def test_recipes_and_pgd_train_against_the_threat() -> None:
    against = [name for name, chosen in PRESETS.items() if chosen.against_threat]
    assert against == ["recipe", "recipe-or-jacobian", "pgd"]
    assert repr(preset("pgd", THREATS)[1]).startswith("PGDTraining(linf:0.1, CrossEntropy(), steps=10,")


def test_recipe_or_jacobian_takes_several_threats() -> None:
    threats = [THREAT, L2(0.5)]
    expected = OneOf((recipe(threats), CrossEntropy() + 0.3 * Jacobian()))
    assert repr(recipe_or_jacobian(threats)) == repr(expected) == repr(preset("recipe-or-jacobian", threats)[1])


def test_entropic_retraining_takes_its_layers() -> None:
    assert repr(entropic_retraining(0.5, "conv*")) == repr(CrossEntropy() + 0.5 * ActivationEntropy("conv*", every=4))


@pytest.mark.parametrize("measure", MEASURES)
def test_entropic_retraining_takes_a_part_of_the_batch_where_the_measure_is_a_mean_over_images(measure: str) -> None:
    every = 4 if measure in {"activation", "softmax"} else 1
    expected = CrossEntropy() + 0.5 * ActivationEntropy(measure=measure, every=every)
    assert repr(entropic_retraining(0.5, measure=measure)) == repr(expected)


def test_entropic_retraining_refuses_an_unknown_measure() -> None:
    with pytest.raises(SettingError, match="'entropy'"):
        entropic_retraining(measure="entropy")


@pytest.mark.parametrize("text", ["entropy", "", ":0.1", "Plain", "entropic 0.05"])
def test_an_unknown_name_is_an_error_that_lists_them(text: str) -> None:
    with pytest.raises(SettingError, match="plain, entropic, differential") as error:
        preset(text, THREATS)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("weight", ["", "high", "0,1", "0.1:2"])
def test_a_weight_that_is_no_number_is_an_error(weight: str) -> None:
    with pytest.raises(SettingError, match="entropic:WEIGHT with a number"):
        preset(f"entropic:{weight}", THREATS)


@pytest.mark.parametrize("weight", ["nan", "inf"])
@pytest.mark.parametrize(
    "name", ["entropic", "differential", "input-gradient", "jacobian", "recipe", "recipe-or-jacobian"]
)
def test_a_weight_that_is_not_finite_is_an_error(name: str, weight: str) -> None:
    with pytest.raises(SettingError, match="finite number"):
        preset(f"{name}:{weight}", THREATS)


@pytest.mark.parametrize("name", ["plain", "differential-bare", "pgd"])
def test_a_weight_for_an_objective_without_one_is_an_error(name: str) -> None:
    assert PRESETS[name].weight is None
    with pytest.raises(SettingError, match=f"'{name}' has no weight"):
        preset(f"{name}:0.5", THREATS)


def test_mimicking_is_an_objective_for_those_who_have_the_profile() -> None:
    term = Mimic((("1", 0.7),))
    presets = PRESETS | {"mimic": mimicking(term)}
    for text, weight in (("mimic:3", 3), ("mimic", presets["mimic"].weight)):
        chosen, objective = preset(text, THREATS, presets)
        assert chosen is presets["mimic"]
        assert repr(objective) == repr(CrossEntropy() + weight * term)
    with pytest.raises(SettingError, match=r"out of plain, entropic, .* but got 'mimic'"):
        preset("mimic", THREATS)
