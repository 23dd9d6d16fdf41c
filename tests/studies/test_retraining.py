import pytest

from retemper.errors import SettingError
from retemper.objectives import CrossEntropy, PGDTraining, entropic_retraining
from retemper.studies.retraining import contest
from retemper.threats import L2, Linf


def test_all_go_on_from_the_same_network_for_the_same_length() -> None:
    asked = contest(data="digits", model="mlp", threats=[Linf(0.1), L2(0.5)], weights=[0.01, 0.1], base_epochs=4)
    assert {(way.base_epochs, way.model) for ways in asked.rivals.values() for way in ways} == {(4, "mlp")}
    (plain,), entropic, (pgd,) = asked.rivals.values()
    assert repr(plain.objective) == repr(CrossEntropy())
    assert [repr(way.objective) for way in entropic] == [repr(entropic_retraining(weight)) for weight in (0.01, 0.1)]
    assert isinstance(pgd.objective, PGDTraining)
    assert pgd.objective.threat == Linf(0.1)
    assert asked.give_up == 0.01


def test_what_may_be_lost_is_a_share() -> None:
    settings = {"data": "digits", "model": "mlp", "threats": [Linf(0.1)], "weights": [0.1]}
    assert contest(**settings, give_up=0.02).give_up == 0.02
    with pytest.raises(SettingError, match="give_up"):
        contest(**settings, give_up=2)
