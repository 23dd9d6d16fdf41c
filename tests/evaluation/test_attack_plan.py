from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from retemper.attacks import apgd, apgd_targeted, deepfool, fab, fmn, pgd, square, transfer
from retemper.attacks.targeted import Stage
from retemper.errors import SettingError
from retemper.evaluation import ATTACKS, Attack, budget, plan
from retemper.evaluation.adaptive import adaptive
from retemper.evaluation.attack_plan import NEAR, NEAREST, adapted, transferred
from retemper.noise import Noise
from retemper.objectives import ActivationEntropy, CrossEntropy
from retemper.threats import Linf


def network(classes: int = 5) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, classes))


MODEL = network()
INPUTS = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))


def called(function: Any, model: nn.Module = MODEL, **settings: Any) -> torch.Tensor:
    """The attack on images that it breaks some of."""
    noise = Noise.for_batch(INPUTS, seed=1)
    return function(model, INPUTS, model(INPUTS).argmax(1), Linf(0.1), noise, **settings)


def test_the_plan_is_in_the_order_asked() -> None:
    names = ["pgd-margin", "fgsm", "apgd-ce"]
    assert [attack.name for attack in plan(names)] == names


def test_every_name_runs_its_own_attack_with_its_own_settings() -> None:
    expected = {
        "fgsm": called(pgd, steps=1, random_start=False),
        "pgd-ce": called(pgd, steps=3, restarts=2),
        "pgd-margin": called(pgd, steps=3, restarts=2, loss="margin"),
        "pgd-dlr": called(pgd, steps=3, restarts=2, loss="dlr"),
        "apgd-ce": called(apgd, steps=3, restarts=2),
        "apgd-margin": called(apgd, steps=3, restarts=2, loss="margin"),
        "apgd-dlr": called(apgd, steps=3, restarts=2, loss="dlr"),
        "apgd-targeted": called(apgd_targeted, stages=[Stage(4, 3)], loss="dlr"),
        "fab": called(fab, steps=3, restarts=2, within=True),
        "fab-targeted": called(fab, steps=3, restarts=2, targets=4, within=True),
        "square": called(square, queries=40),
        "fmn": called(fmn, steps=3, within=True),
        "deepfool": called(deepfool, steps=3),
    }
    assert list(expected) == list(ATTACKS)
    for attack in plan(ATTACKS, steps=3, restarts=2, queries=40, classes=5):
        assert torch.equal(called(attack.run), expected[attack.name]), attack.name


def test_two_classes_get_the_margin_once_instead_of_dlr() -> None:
    assert [attack.name for attack in plan(["apgd-ce", "apgd-dlr", "apgd-margin"], classes=2)] == [
        "apgd-ce",
        "apgd-margin",
    ]
    assert [attack.name for attack in plan(["apgd-ce", "apgd-dlr"], classes=3)] == ["apgd-ce", "apgd-dlr"]


def test_settings_are_told_in_words() -> None:
    assert [str(attack) for attack in plan(["fgsm", "pgd-ce", "square"], steps=7, queries=30)] == [
        "fgsm (1 step, cross-entropy)",
        "pgd-ce (7 steps, 1 restart)",
        "square (30 queries)",
    ]
    assert str(plan(["apgd-dlr"], restarts=2)[0]) == "apgd-dlr (100 steps, 2 restarts)"
    (race,) = plan(["apgd-targeted"], steps=7, classes=3)
    assert str(race) == "apgd-targeted (margin, targets x steps: 2 x 7)"


@pytest.mark.parametrize("names", [[], ["pgd"], ["apgd-ce", "autoattack"], ["APGD-CE"], [""]])
def test_unknown_names_and_none_are_refused_with_the_known_ones(names: list[str]) -> None:
    with pytest.raises(SettingError, match="fgsm, pgd-ce"):
        plan(names)


@pytest.mark.parametrize("setting", ["steps", "restarts", "queries"])
def test_numbers_below_one_are_refused_before_anything_runs(setting: str) -> None:
    with pytest.raises(SettingError, match=setting):
        plan(["fgsm"], **{setting: 0})


@pytest.mark.parametrize(
    ("name", "classes"), [*product(("quick",), (2, 3, 4, 10)), *product(("standard",), (2, 4)), ("thorough", 2)]
)
def test_every_attack_of_a_budget_runs_for_any_number_of_classes(name: str, classes: int) -> None:
    model = network(classes)
    for attack in budget(name, classes=classes):
        moved = called(attack.run, model)
        # At any distance: FAB's may lie beyond the radius.
        assert Linf(1.0).allows(moved, INPUTS).all(), attack.name
        assert not torch.equal(moved, INPUTS), attack.name


def test_each_budget_holds_all_attacks_of_the_one_before_but_quick() -> None:
    standard, thorough = ([str(attack) for attack in budget(name)] for name in ("standard", "thorough"))
    assert thorough[: len(standard)] == standard
    assert len(thorough) > len(standard) > len(budget("quick"))


def test_no_two_attacks_of_a_budget_share_a_name_and_with_it_their_noise() -> None:
    names = [attack.name for attack in [*budget("thorough"), *adapted(CrossEntropy() + ActivationEntropy())]]
    assert len(set(names)) == len(names)


def test_only_attacks_that_say_so_are_for_near_images() -> None:
    near = {attack.name: attack.near for attack in budget("thorough") if attack.near is not None}
    assert near == {"apgd-targeted-near": NEAR, "apgd-ce-nearest": NEAREST, "fab-targeted-nearest": NEAREST}
    for attack in budget("thorough"):
        told = "" if attack.near is None else f"where the margin is below {attack.near:.0%} of its first value"
        assert attack.settings.endswith(told)
        assert ("where" in attack.settings) == (attack.near is not None)


def test_what_asks_the_model_or_another_one_is_no_attack_by_gradients_around_the_image() -> None:
    surrogate = nn.Linear(2, 2)
    others = {attack.name for attack in [*budget("thorough"), *plan(ATTACKS)] if not attack.gradients}
    assert others == {"apgd-from-square", "square"}
    assert not transferred(surrogate).gradients


def test_below_four_classes_the_margin_takes_the_place_of_dlr() -> None:
    assert "dlr" in str(budget("quick", classes=4)[-1])
    assert "dlr" not in " ".join(str(attack) for attack in budget("thorough", classes=3))


@pytest.mark.parametrize(("name", "classes", "words"), [("fast", 10, "quick, standard, thorough"), ("quick", 1, "1")])
def test_unknown_budgets_and_too_few_classes_are_refused(name: str, classes: int, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        budget(name, classes=classes)


def test_a_surrogate_is_an_attack_that_follows_its_gradients() -> None:
    surrogate = nn.Linear(6, 5)
    attack = transferred(surrogate, steps=4)
    assert str(attack) == "transfer (4 steps on the surrogate)"
    assert torch.equal(called(attack.run), called(transfer, surrogate=surrogate, steps=4))


def test_an_objective_with_terms_of_its_own_adds_an_attack_of_either_sign() -> None:
    objective = CrossEntropy() + 0.5 * ActivationEntropy()
    up, down = adapted(objective, steps=6)
    assert (up.name, down.name) == ("apgd-adaptive-up", "apgd-adaptive-down")
    for attack, weight in ((up, 1.0), (down, -1.0)):
        extra = adaptive(objective, weight)
        assert torch.equal(called(attack.run), called(apgd, steps=6, loss="margin", extra=extra))
    assert not torch.equal(called(up.run), called(down.run))


def test_cross_entropy_alone_adds_no_attack() -> None:
    assert adapted(CrossEntropy()) == []


def test_an_attack_is_told_by_name_and_settings() -> None:
    assert str(Attack("mine", "as I like it", called)) == "mine (as I like it)"
