"""Which attacks an evaluation runs, and in which order: a budget by name, or attacks by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from retemper.attacks import apgd, apgd_from_square, apgd_targeted, deepfool, fab, fmn, pgd, square, transfer
from retemper.attacks.targeted import Stage
from retemper.checks import at_least_one
from retemper.errors import SettingError
from retemper.evaluation.adaptive import adaptive
from retemper.objectives import Objective

BUDGETS = ("quick", "standard", "thorough")
ATTACKS = (
    "fgsm",
    *(f"{family}-{loss}" for family in ("pgd", "apgd") for loss in ("ce", "margin", "dlr")),
    *("apgd-targeted", "fab", "fab-targeted", "square", "fmn", "deepfool"),
)
# See `Attack.near`. Of the images that more steps broke on validation data, all lay below the first number, and
# those that took restarts below the second.
NEAR, NEAREST = 0.25, 0.05


@dataclass(frozen=True)
class Attack:
    """A named attack with its settings.

    Attributes:
        name: of the attack; the same name draws the same noise.
        settings: for people to read.
        run: takes (model, inputs, labels, threat, noise), returns inputs of the same shape.
        near: it is spent only on images whose margin earlier attacks brought down to this share of what it
            was at the image itself; None spends it on all that stand.
        gradients: whether its success is owed to gradients of the model around the image. What other attacks break
            is a sign that these lead nowhere; so the others best come last, since what has fallen is tried no more.
    """

    name: str
    settings: str
    run: Callable[..., Tensor]
    near: float | None = None
    gradients: bool = True

    def __str__(self) -> str:
        return f"{self.name} ({self.settings})"


def budget(name: str = "standard", *, classes: int = 10) -> list[Attack]:
    """The attacks of a budget, cheap ones first.

    - "quick": a look, for use while training; about 60 gradients for an image that stands.
    - "standard": made to find what AutoAttack finds in a fraction of its passes; `python -m benchmarks attacks`.
    - "thorough": "standard" with more restarts, every target to the end, FAB and Square.

    Args:
        name: out of `BUDGETS`.
        classes: how many the model tells apart; below four, the margin takes the place of DLR.

    Raises:
        SettingError: an unknown name, or fewer than two classes.
    """
    if name not in BUDGETS:
        raise SettingError(f"Expected a budget out of {', '.join(BUDGETS)}, but got {name!r}.")
    if classes < 2:
        raise SettingError(f"Expected two or more classes, but got {classes}.")
    loss = "dlr" if classes > 3 else "margin"
    first = Attack("pgd-margin", "10 steps from the image", partial(pgd, steps=10, loss="margin", random_start=False))
    if name == "quick":
        return [first, _race("apgd-targeted", loss, (Stage(3, 10), Stage(1, 20, 0.5)), classes)]
    attacks = [
        first,
        Attack("apgd-ce", "25 steps", partial(apgd, steps=25, loss="ce")),
        _race("apgd-targeted", loss, (Stage(9, 10, 1.0), Stage(4, 20, 0.5), Stage(2, 50, 0.5)), classes),
        Attack("apgd-from-square", "30 queries and 50 steps, 3 restarts, margin", apgd_from_square, gradients=False),
        _race("apgd-targeted-near", loss, (Stage(4, 100),), classes, near=NEAR),
        Attack(
            "apgd-ce-nearest",
            f"100 steps, 10 restarts, {_where(NEAREST)}",
            partial(apgd, steps=100, restarts=10, loss="ce"),
            near=NEAREST,
        ),
        Attack(
            "fab-targeted-nearest",
            f"50 steps, {min(3, classes - 1)} targets, {_where(NEAREST)}",
            partial(fab, steps=50, targets=min(3, classes - 1), within=True),
            near=NEAREST,
        ),
    ]
    if name == "thorough":
        attacks += [
            Attack("apgd-margin", "100 steps, 2 restarts", partial(apgd, steps=100, restarts=2, loss="margin")),
            _race("apgd-targeted-whole", loss, (Stage(9, 100),), classes),
            Attack("fab-targeted", "100 steps, 9 targets", partial(fab, steps=100, targets=9, within=True)),
            Attack("square", "5000 queries", partial(square, queries=5000), gradients=False),
        ]
    return attacks


def _race(name: str, loss: str, stages: Sequence[Stage], classes: int, near: float | None = None) -> Attack:
    fitting = [stage._replace(targets=min(stage.targets, classes - 1)) for stage in stages]
    told = " then ".join(f"{stage.targets} x {stage.steps}" for stage in fitting)
    where = "" if near is None else f", {_where(near)}"
    run = partial(apgd_targeted, stages=fitting, loss=loss)
    return Attack(name, f"{loss}, targets x steps: {told}{where}", run, near=near)


def _where(near: float) -> str:
    return f"where the margin is below {near:.0%} of its first value"


def plan(
    names: Sequence[str],
    *,
    steps: int = 100,
    restarts: int = 1,
    queries: int = 5000,
    classes: int = 10,
) -> list[Attack]:
    """The attacks of these names, in this order; losses that need more classes than there are become the margin.

    Args:
        names: out of `ATTACKS`.
        steps: of every attack that takes gradients, but the one-step FGSM.
        restarts: of PGD, APGD and FAB.
        queries: of Square.
        classes: how many the model tells apart.

    Raises:
        SettingError: an unknown name, or none; a number below one.
    """
    at_least_one(steps=steps, restarts=restarts, queries=queries)
    if not names:
        raise SettingError(f"Expected at least one attack out of {', '.join(ATTACKS)}, but got none.")
    attacks: dict[str, Attack] = {}
    for asked in names:
        if asked not in ATTACKS:
            raise SettingError(f"Expected attacks out of {', '.join(ATTACKS)}, but got {asked!r}.")
        name = asked.replace("dlr", "margin") if classes < 3 else asked
        attacks[name] = _attack(name, steps, restarts, queries, classes)
    return list(attacks.values())


def _attack(name: str, steps: int, restarts: int, queries: int, classes: int) -> Attack:
    told = f"{steps} steps, {restarts} restart{'s' if restarts > 1 else ''}"
    others = min(9, classes - 1)
    match name.split("-"):
        case ["fgsm"]:
            return Attack(name, "1 step, cross-entropy", partial(pgd, steps=1, random_start=False))
        case ["apgd", "targeted"]:
            return _race(name, "dlr" if classes > 3 else "margin", (Stage(others, steps),), classes)
        case ["fab"]:
            return Attack(name, told, partial(fab, steps=steps, restarts=restarts, within=True))
        case ["fab", "targeted"]:
            run = partial(fab, steps=steps, restarts=restarts, targets=others, within=True)
            return Attack(name, f"{told}, {others} targets", run)
        case ["square"]:
            return Attack(name, f"{queries} queries", partial(square, queries=queries), gradients=False)
        case ["fmn"]:
            return Attack(name, f"{steps} steps", partial(fmn, steps=steps, within=True))
        case ["deepfool"]:
            return Attack(name, f"{steps} steps", partial(deepfool, steps=steps))
        case ["pgd", loss]:
            return Attack(name, told, partial(pgd, steps=steps, restarts=restarts, loss=loss))
        case [_, loss]:
            return Attack(name, told, partial(apgd, steps=steps, restarts=restarts, loss=loss))
    raise AssertionError(f"{name} is in ATTACKS, but no case builds it")


def transferred(surrogate: nn.Module, *, steps: int = 50) -> Attack:
    """What succeeds against a surrogate, tried on the model (Papernot et al. 2016, 1605.07277).

    Args:
        surrogate: any model with the same classes and inputs, on the same device.
        steps: on the surrogate.
    """
    run = partial(transfer, surrogate=surrogate, steps=steps)
    return Attack("transfer", f"{steps} steps on the surrogate", run, gradients=False)


def adapted(objective: Objective, *, steps: int = 50) -> list[Attack]:
    """APGD that climbs, beside the margin, the terms that a model was trained on, with either sign (`adaptive`).

    Args:
        objective: what it was trained on; one of no terms but cross-entropy adds no attack.
        steps: of each of the two.

    Raises:
        SettingError: an objective whose terms are not known.
    """
    told = f"{steps} steps, margin with the training's own terms"
    attacks = []
    for sign, weight in (("up", 1.0), ("down", -1.0)):
        if (extra := adaptive(objective, weight)) is not None:
            run = partial(apgd, steps=steps, loss="margin", extra=extra)
            attacks.append(Attack(f"apgd-adaptive-{sign}", f"{told}, {sign}", run))
    return attacks
