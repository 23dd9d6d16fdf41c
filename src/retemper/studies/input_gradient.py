"""Margin that reaches the input: what the pair loss adds to an input-gradient penalty, beside PGD training."""

from collections.abc import Sequence

from retemper.objectives import CrossEntropy, Differential, InputGradient, PGDTraining, Term
from retemper.studies.contest import Contest
from retemper.studies.ways import Way
from retemper.threats import L2, Threat

LOSSES: dict[str, Term] = {"cross-entropy": CrossEntropy(), "differential": Differential()}
ACTIVATIONS = ("relu", "silu")
WEIGHTS = (0.03, 0.1, 0.3)
# Of validation images: one standard error of 1,000 above the 90 % that are asked of test images.
FLOOR = 0.91


def contest(
    *,
    data: str = "cifar10",
    classes: tuple[str, ...] = ("airplane", "horse"),
    model: str = "small-cnn",
    threats: Sequence[Threat] = (L2(0.5), L2(1.0)),
    epochs: int = 10,
    seeds: int = 3,
    images: int = 1000,
) -> Contest:
    """Both losses with the penalty on the squared L2 norm of the scores' input gradient, and ten-step PGD training.

    Activation and weight are chosen for each loss alike; PGD training, at the largest radius, takes the network
    as it is, from one seed.
    """
    rivals = {f"{loss} + input gradient": _candidates(loss, model) for loss in LOSSES}
    largest = max(threats, key=lambda threat: threat.radius)
    rivals["pgd"] = [Way("pgd", PGDTraining(largest), model)]
    return Contest(data, classes, rivals, tuple(threats), epochs, seeds, images, FLOOR, once=("pgd",))


def _candidates(loss: str, model: str) -> list[Way]:
    return [
        Way(f"{loss}-{weight:g}-{activation}", LOSSES[loss] + weight * InputGradient(), model, activation=activation)
        for activation in ACTIVATIONS
        for weight in WEIGHTS
    ]
