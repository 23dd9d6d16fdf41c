"""Entropic retraining against plain retraining of equal length, from the same trained network."""

from collections.abc import Sequence

from retemper.checks import in_0_to_1
from retemper.objectives import CrossEntropy, Objective, PGDTraining, entropic_retraining
from retemper.studies.contest import Contest
from retemper.studies.ways import Way
from retemper.threats import Threat


def contest(
    *,
    data: str,
    model: str,
    threats: Sequence[Threat],
    weights: Sequence[float],
    classes: tuple[str, ...] = (),
    activation: str = "relu",
    base_epochs: int = 2,
    epochs: int = 2,
    seeds: int = 3,
    images: int = 1000,
    give_up: float = 0.01,
) -> Contest:
    """Plain retraining, entropic retraining with one of some weights, and ten-step PGD training at the first threat.

    All go on for `epochs` from the same network, trained plainly for `base_epochs`; PGD training from one
    seed. Validation images choose the weight, among those that lose at most `give_up` of clean accuracy there against
    plain retraining.

    Raises:
        SettingError: `give_up` outside [0, 1], or as `Contest` says.
    """
    in_0_to_1(give_up=give_up)

    def retrained(name: str, objective: Objective) -> Way:
        return Way(name, objective, model, activation=activation, base_epochs=base_epochs)

    rivals = {
        "plain": [retrained("plain", CrossEntropy())],
        "entropic": [retrained(f"entropic-{weight:g}", entropic_retraining(weight)) for weight in weights],
        "pgd": [retrained("pgd", PGDTraining(threats[0]))],
    }
    return Contest(data, classes, rivals, tuple(threats), epochs, seeds, images, give_up=give_up, once=("pgd",))
