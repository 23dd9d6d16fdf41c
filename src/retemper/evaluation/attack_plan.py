"""Which attacks an evaluation runs, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from retemper.attacks import apgd, pgd
from retemper.attacks.ascent import at_least_one
from retemper.errors import SettingError

ATTACKS = ("fgsm", "pgd-ce", "pgd-margin", "pgd-dlr", "apgd-ce", "apgd-margin", "apgd-dlr")
DEFAULT = ("apgd-ce", "apgd-dlr")


@dataclass(frozen=True)
class Attack:
    """A named attack with its settings; `run` takes (model, inputs, labels, threat, generator)."""

    name: str
    settings: str
    run: Callable[..., Tensor]

    def __str__(self) -> str:
        return f"{self.name} ({self.settings})"


def plan(names: Sequence[str] = DEFAULT, *, steps: int = 100, restarts: int = 1, classes: int = 10) -> list[Attack]:
    """The attacks of these names, in this order; with two classes, DLR, which needs three, becomes the margin.

    Args:
        names: out of `ATTACKS`.
        steps: of every attack but the one-step FGSM.
        restarts: of every attack but FGSM.
        classes: how many the model tells apart.

    Raises:
        SettingError: an unknown name, or none; a number below one.
    """
    at_least_one(steps=steps, restarts=restarts)
    if not names:
        raise SettingError(f"Expected at least one attack out of {', '.join(ATTACKS)}, but got none.")
    attacks: dict[str, Attack] = {}
    for asked in names:
        if asked not in ATTACKS:
            raise SettingError(f"Expected attacks out of {', '.join(ATTACKS)}, but got {asked!r}.")
        name = asked.replace("dlr", "margin") if classes < 3 else asked
        attacks[name] = _attack(name, steps, restarts)
    return list(attacks.values())


def _attack(name: str, steps: int, restarts: int) -> Attack:
    if name == "fgsm":
        return Attack(name, "1 step, cross-entropy", partial(pgd, steps=1, random_start=False))
    family, _, loss = name.partition("-")
    function = {"pgd": pgd, "apgd": apgd}[family]
    settings = f"{steps} steps, {restarts} restart{'s' if restarts > 1 else ''}"
    return Attack(name, settings, partial(function, steps=steps, restarts=restarts, loss=loss))
