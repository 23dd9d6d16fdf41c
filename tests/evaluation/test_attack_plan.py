from typing import Any

import pytest
import torch
from torch import nn

from retemper.attacks import apgd, pgd
from retemper.errors import SettingError
from retemper.evaluation import ATTACKS, plan
from retemper.threats import Linf


def test_the_plan_is_in_the_order_asked() -> None:
    names = ["pgd-margin", "fgsm", "apgd-ce"]
    assert [attack.name for attack in plan(names)] == names


def test_every_name_runs_its_own_attack_with_its_own_settings() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 4))
    inputs = torch.rand(8, 6)
    labels = model(inputs).argmax(1)
    threat = Linf(0.01)

    def called(function: Any, **settings: Any) -> torch.Tensor:
        return function(model, inputs, labels, threat, torch.Generator().manual_seed(1), **settings)

    expected = {
        "fgsm": called(pgd, steps=1, random_start=False),
        "pgd-ce": called(pgd, steps=3, restarts=2),
        "pgd-margin": called(pgd, steps=3, restarts=2, loss="margin"),
        "pgd-dlr": called(pgd, steps=3, restarts=2, loss="dlr"),
        "apgd-ce": called(apgd, steps=3, restarts=2),
        "apgd-margin": called(apgd, steps=3, restarts=2, loss="margin"),
        "apgd-dlr": called(apgd, steps=3, restarts=2, loss="dlr"),
    }
    assert list(expected) == list(ATTACKS)
    for attack in plan(ATTACKS, steps=3, restarts=2):
        assert torch.equal(called(attack.run), expected[attack.name])


def test_two_classes_get_the_margin_once_instead_of_dlr() -> None:
    assert [attack.name for attack in plan(["apgd-ce", "apgd-dlr", "apgd-margin"], classes=2)] == [
        "apgd-ce",
        "apgd-margin",
    ]
    assert [attack.name for attack in plan(classes=3)] == ["apgd-ce", "apgd-dlr"]


def test_settings_are_told_in_words() -> None:
    assert [str(attack) for attack in plan(["fgsm", "pgd-ce"], steps=7)] == [
        "fgsm (1 step, cross-entropy)",
        "pgd-ce (7 steps, 1 restart)",
    ]
    assert str(plan(["apgd-dlr"], restarts=2)[0]) == "apgd-dlr (100 steps, 2 restarts)"


@pytest.mark.parametrize("names", [[], ["pgd"], ["apgd-ce", "autoattack"], ["APGD-CE"], [""]])
def test_unknown_names_and_none_are_refused_with_the_known_ones(names: list[str]) -> None:
    with pytest.raises(SettingError, match="fgsm, pgd-ce"):
        plan(names)


@pytest.mark.parametrize("setting", ["steps", "restarts"])
def test_numbers_below_one_are_refused_before_anything_runs(setting: str) -> None:
    with pytest.raises(SettingError, match=setting):
        plan(**{setting: 0})
