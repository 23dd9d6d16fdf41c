"""Differential training of more than two classes, its biases fitted afterwards, beside cross-entropy."""

from collections.abc import Sequence

from retemper.objectives import CrossEntropy, Objective, differential_training
from retemper.studies.contest import Contest
from retemper.studies.ways import Way
from retemper.threats import Threat

LOSSES: dict[str, Objective] = {"cross-entropy": CrossEntropy(), "differential": differential_training(0)}
OPTIMISERS = (("adam", 1e-3), ("adam", 3e-4), ("sgd", 0.1), ("sgd", 0.03), ("sgd", 0.01))


def contest(
    *, data: str, model: str, threats: Sequence[Threat], epochs: int = 5, seeds: int = 3, images: int = 1000
) -> Contest:
    """The two losses on all classes of the data, each with the optimiser that suits it."""
    rivals = {
        loss: [
            Way(f"{loss}-{name}-{rate:g}", objective, model, settings={"optimiser": name, "learning_rate": rate})
            for name, rate in OPTIMISERS
        ]
        for loss, objective in LOSSES.items()
    }
    return Contest(data, (), rivals, tuple(threats), epochs, seeds, images)
