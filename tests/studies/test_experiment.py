import json

import pytest

from retemper.errors import SettingError
from retemper.objectives import PGDTraining
from retemper.studies.experiment import REPORTED, Experiment
from retemper.threats import L2, Linf


def test_cifar10_is_attacked_where_figures_were_reported_and_chosen_by_less() -> None:
    task = Experiment().task
    assert task.threats == (Linf(8 / 255), L2(0.5))
    assert task.reported == REPORTED
    assert all(less.radius < threat.radius for less, threat in zip(task.chosen_by, task.threats, strict=True))
    assert task.augmentation == "crop-and-flip"


def test_mnist_has_radii_of_its_own_no_reported_figure_and_no_mirrored_digits() -> None:
    experiment = Experiment("mnist", ("lenet5",))
    task = experiment.task
    assert task.threats == task.chosen_by == (Linf(0.1), L2(1.5))
    assert (dict(task.reported), task.reported_clean, task.augmentation) == ({}, None, "none")
    pgd = experiment.pgd("lenet5")
    assert isinstance(pgd.objective, PGDTraining)
    assert pgd.objective.threat == Linf(0.1)
    ways = (pgd, experiment.plain("lenet5"), *experiment.entropic("lenet5"))
    assert {way.settings["augmentation"] for way in ways} == {"none"}


def test_what_is_asked_for_otherwise_is_taken_and_told() -> None:
    threats = (Linf(8 / 255), Linf(2 / 255), Linf(8 / 255))
    task = Experiment(threats=threats, give_up=0.05, augmentation="flip").task
    assert task.threats == task.chosen_by == threats[:2]
    assert dict(task.reported) == {threats[0]: REPORTED[threats[0]]}
    told = Experiment(threats=threats, give_up=0.05, augmentation="flip").as_json()
    assert json.loads(json.dumps(told)) == told
    assert told["threats"] == ["linf:8/255", "linf:2/255"]
    assert (told["give_up"], told["augmentation"]) == (0.05, "flip")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "`epochs` to be 1 or more"),
        ({"weights": ()}, "one weight at least"),
        ({"give_up": 1.5}, "`give_up`"),
        ({"data": "digits"}, "Expected threats such as linf:0.1 for 'digits'"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Experiment(**changes)  # type: ignore[arg-type]  # the values are of several types
