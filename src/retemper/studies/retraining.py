"""Entropic retraining against plain retraining of equal length, from the same trained network."""

import re
from collections.abc import Sequence
from itertools import product

from retemper.activations import Layers
from retemper.checks import in_0_to_1
from retemper.errors import SettingError
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
    measures: Sequence[str] = ("activation",),
    layers: Sequence[str] = ("all",),
    classes: tuple[str, ...] = (),
    activation: str = "relu",
    optimiser: str = "adam",
    learning_rate: float | None = None,
    base_epochs: int = 2,
    epochs: int = 2,
    seeds: int = 3,
    images: int = 1000,
    give_up: float = 0.01,
) -> Contest:
    """Plain retraining, entropic retraining in one of some ways, and ten-step PGD training at the first threat.

    All go on for `epochs` from the same network, trained plainly for `base_epochs`; PGD training from one
    seed. Validation images choose among the measures, each over each of the `layers`, with each weight, of those that
    lose at most `give_up` of clean accuracy there against plain retraining. Layers are "all", or names and patterns
    joined by "+", such as "conv*_act+dense1_act". All trainings take the same optimiser and learning rate, as
    `retemper.training.Settings` names them.

    Raises:
        SettingError: `give_up` outside [0, 1], no weight, measure or layers, an unknown measure, or as `Contest` says.
    """
    in_0_to_1(give_up=give_up)
    for name, given in (("weights", weights), ("measures", measures), ("layers", layers)):
        if not given:
            raise SettingError(f"Expected at least one of `{name}`, but got none.")

    settings = {"optimiser": optimiser, "learning_rate": learning_rate}

    def retrained(name: str, objective: Objective) -> Way:
        return Way(name, objective, model, activation, settings, base_epochs)

    rivals = {
        "plain": [retrained("plain", CrossEntropy())],
        "entropic": [
            retrained(_name(measure, over, weight), entropic_retraining(weight, _layers(over), measure))
            for measure, over, weight in product(measures, layers, weights)
        ],
        "pgd": [retrained("pgd", PGDTraining(threats[0]))],
    }
    return Contest(data, classes, rivals, tuple(threats), epochs, seeds, images, give_up=give_up, once=("pgd",))


def _layers(text: str) -> Layers:
    return text.split("+") if "+" in text else text


def _name(measure: str, layers: str, weight: float) -> str:
    """In tables and folders: what differs from the term of `entropic_retraining`, patterns without their signs."""
    unusual = [measure] * (measure != "activation") + [re.sub(r"[^\w.+-]", "~", layers)] * (layers != "all")
    return "-".join(["entropic", *unusual, f"{weight:g}"])
