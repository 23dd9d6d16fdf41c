import pytest

from retemper.errors import SettingError
from retemper.objectives import ActivationEntropy, CrossEntropy, PGDTraining, entropic_retraining
from retemper.studies.retraining import contest
from retemper.threats import L2, Linf
from retemper.training import Settings


def test_all_go_on_from_the_same_network_for_the_same_length() -> None:
    asked = contest(data="digits", model="mlp", threats=[Linf(0.1), L2(0.5)], weights=[0.01, 0.1], base_epochs=4)
    every = [way for ways in asked.rivals.values() for way in ways]
    assert {(way.base_epochs, way.model) for way in every} == {(4, "mlp")}
    assert all(Settings(**way.settings) == Settings() for way in every)
    (plain,), entropic, (pgd,) = asked.rivals.values()
    assert repr(plain.objective) == repr(CrossEntropy())
    assert [repr(way.objective) for way in entropic] == [repr(entropic_retraining(weight)) for weight in (0.01, 0.1)]
    assert isinstance(pgd.objective, PGDTraining)
    assert pgd.objective.threat == Linf(0.1)
    assert asked.give_up == 0.01


def test_all_train_with_the_same_optimiser() -> None:
    sgd = {"optimiser": "sgd", "learning_rate": 0.01}
    asked = contest(data="digits", model="mlp", threats=[Linf(0.1)], weights=[0.1], **sgd)
    assert [dict(way.settings) for ways in asked.rivals.values() for way in ways] == [sgd] * 3


def test_each_measure_is_tried_over_each_of_the_layers_with_each_weight() -> None:
    asked = contest(
        data="digits",
        model="mlp",
        threats=[Linf(0.1)],
        weights=[-0.1, 1.25],
        measures=["activation", "unit"],
        layers=["all", "dense*_act+dense1"],
    )
    ways = {way.name: way.objective for way in asked.rivals["entropic"]}
    some = ["dense*_act", "dense1"]
    expected = {
        "entropic--0.1": CrossEntropy() + -0.1 * ActivationEntropy(every=4),
        "entropic-1.25": entropic_retraining(),
        "entropic-dense~_act+dense1--0.1": CrossEntropy() + -0.1 * ActivationEntropy(some, every=4),
        "entropic-dense~_act+dense1-1.25": CrossEntropy() + 1.25 * ActivationEntropy(some, every=4),
        "entropic-unit--0.1": CrossEntropy() + -0.1 * ActivationEntropy(measure="unit"),
        "entropic-unit-1.25": CrossEntropy() + 1.25 * ActivationEntropy(measure="unit"),
        "entropic-unit-dense~_act+dense1--0.1": CrossEntropy() + -0.1 * ActivationEntropy(some, "unit"),
        "entropic-unit-dense~_act+dense1-1.25": CrossEntropy() + 1.25 * ActivationEntropy(some, "unit"),
    }
    assert {name: repr(objective) for name, objective in ways.items()} == {
        name: repr(objective) for name, objective in expected.items()
    }


@pytest.mark.parametrize("empty", ["weights", "measures", "layers"])
def test_something_to_choose_from_is_needed(empty: str) -> None:
    settings = {"data": "digits", "model": "mlp", "threats": [Linf(0.1)], "weights": [0.1]}
    with pytest.raises(SettingError, match=f"at least one of `{empty}`"):
        contest(**settings | {empty: []})


def test_an_unknown_measure_is_named() -> None:
    with pytest.raises(SettingError, match="'binned'"):
        contest(data="digits", model="mlp", threats=[Linf(0.1)], weights=[0.1], measures=["binned"])


def test_what_may_be_lost_is_a_share() -> None:
    settings = {"data": "digits", "model": "mlp", "threats": [Linf(0.1)], "weights": [0.1]}
    assert contest(**settings, give_up=0.02).give_up == 0.02
    with pytest.raises(SettingError, match="give_up"):
        contest(**settings, give_up=2)
