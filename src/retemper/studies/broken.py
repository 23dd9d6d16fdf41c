"""How many images break: what the paper's experiment is made of, and what it found, in figures and in words."""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

from retemper.checks import at_least_one
from retemper.environment import describe
from retemper.errors import SettingError
from retemper.evaluation.intervals import Interval, paired_difference
from retemper.studies.attacking import Attacked
from retemper.studies.ways import Trial
from retemper.threats import L2, Threat

SPLITS = ("train", "test")
# The paper writes of a radical fall; the line is ours: half of what is broken under cross-entropy, or less.
RADICAL = 0.5


@dataclass(frozen=True)
class Experiment:
    """What is trained and how it is attacked.

    Attributes:
        data: as `retemper.load` takes it.
        classes: two of its classes; empty where it has two.
        model: a network by name.
        threats: in L2; the smallest radius chooses the optimisers.
        epochs: the usual number.
        long_epochs: so many that training images are answered without an error.
        seeds: of weights and order, from 0 on.
        images: attacked of each split, the first ones.

    Raises:
        SettingError: a number below one, or a threat in another norm, or none.
    """

    data: str = "cifar10"
    classes: tuple[str, ...] = ("airplane", "horse")
    model: str = "small-cnn"
    threats: tuple[Threat, ...] = (L2(0.5), L2(1.0))
    epochs: int = 8
    long_epochs: int = 40
    seeds: int = 3
    images: int = 1000

    def __post_init__(self) -> None:
        at_least_one(epochs=self.epochs, long_epochs=self.long_epochs, seeds=self.seeds, images=self.images)
        if not self.threats or not all(isinstance(threat, L2) for threat in self.threats):
            got = ", ".join(map(str, self.threats)) or "none"
            raise SettingError(f"Expected `threats` in L2, such as l2:0.5,1, but got {got}.")

    @property
    def radii(self) -> tuple[float, ...]:
        """From small to large."""
        return tuple(sorted(threat.radius for threat in self.threats))

    @property
    def budgets(self) -> dict[str, int]:
        """The number of epochs of each budget."""
        return {"usual": self.epochs, "long": self.long_epochs}


@dataclass(frozen=True)
class Network:
    """One trained network under attack.

    Attributes:
        loss: "cross-entropy" or "differential".
        budget: a key of `Experiment.budgets`.
        seed: of weights and order.
        training_errors: images of the whole training data that are answered wrongly.
        splits: what is known of the attacked images of each split.
    """

    loss: str
    budget: str
    seed: int
    training_errors: int
    splits: dict[str, Attacked]


@dataclass(frozen=True)
class Difference:
    """How much more often an image breaks under differential training, of all images, wrong answers counted."""

    budget: str
    split: str
    radius: float
    mean: float
    interval: Interval


@dataclass(frozen=True)
class Outcome:
    """What the experiment found.

    Attributes:
        experiment: what was run.
        chosen: the way that validation data chose for each loss.
        trials: what each candidate reached there.
        networks: of all losses, budgets and seeds.
    """

    experiment: Experiment
    chosen: dict[str, str]
    trials: tuple[Trial, ...]
    networks: tuple[Network, ...]

    def of(self, loss: str, budget: str) -> list[Network]:
        """The networks of all seeds."""
        return [network for network in self.networks if (network.loss, network.budget) == (loss, budget)]

    def broken(self, loss: str, budget: str, split: str, radius: float) -> list[float]:
        """For each seed, the share of rightly answered images with an adversarial example within the radius."""
        return [float(network.splits[split].broken(radius).mean()) for network in self.of(loss, budget)]

    def differences(self) -> list[Difference]:
        """Paired over images at every budget, split and radius."""
        found = []
        for budget, split, radius in product(self.experiment.budgets, SPLITS, self.experiment.radii):
            ours, theirs = (
                [network.splits[split].distances <= radius for network in self.of(loss, budget)]
                for loss in ("differential", "cross-entropy")
            )
            found.append(Difference(budget, split, radius, *paired_difference(ours, theirs)))
        return found

    def verdict(self) -> str:
        """Whether the share falls, radically or at least beyond the noise, in words, at each budget and split.

        Of all images, as in `differences`: the share of the rightly answered ones falls also where more are wrong.
        """
        said = []
        differences = self.differences()
        for budget, split in product(self.experiment.budgets, SPLITS):
            falls = []
            for radius in self.experiment.radii:
                ours, theirs = (
                    float(np.mean([network.splits[split].distances <= radius for network in self.of(loss, budget)]))
                    for loss in ("differential", "cross-entropy")
                )
                falls.append((radius, theirs, ours))
            here = [found for found in differences if (found.budget, found.split) == (budget, split)]
            radical = [
                fall
                for fall, found in zip(falls, here, strict=True)
                if fall[2] <= RADICAL * fall[1] and found.interval.high < 0
            ]
            word = "falls radically" if len(radical) == len(falls) else "falls radically in part" if radical else ""
            below = [found.interval.high < 0 for found in here]
            if not word and any(below):
                word = "falls, but not to half" if all(below) else "falls, but not at every radius"
            elif not word:
                word = "does not fall" + (" beyond the noise" if all(found.mean < 0 for found in here) else "")
            listed = "; ".join(f"{theirs:.1%} -> {ours:.1%} within {radius:g}" for radius, theirs, ours in falls)
            said.append(f"{budget} budget, all {split} images: the share that breaks {word} ({listed}).")
        return "\n".join(said)

    def as_json(self) -> dict[str, Any]:
        """Everything, with every image's distance; null where nothing broke it."""
        return {
            "experiment": asdict(self.experiment) | {"threats": [str(threat) for threat in self.experiment.threats]},
            "chosen": self.chosen,
            "trials": [asdict(trial) for trial in self.trials],
            "networks": [
                {
                    "loss": network.loss,
                    "budget": network.budget,
                    "seed": network.seed,
                    "training_errors": network.training_errors,
                    "distances": {
                        name: [float(one) if np.isfinite(one) else None for one in found.distances]
                        for name, found in network.splits.items()
                    },
                }
                for network in self.networks
            ],
            "differences": [asdict(difference) for difference in self.differences()],
            "environment": describe(),
        }


def table(outcome: Outcome) -> str:
    """What was chosen, and the share broken at every radius, seed by seed."""
    lines = [f"{loss}: {way}" for loss, way in outcome.chosen.items()]
    radii, losses = outcome.experiment.radii, outcome.chosen
    lines += ["", f"{'budget':8}{'loss':15}{'split':7}{'errors':>8}" + "".join(f"{f'L2 {r:g}':>22}" for r in radii)]
    for budget, loss, split in product(outcome.experiment.budgets, losses, SPLITS):
        errors = [network.training_errors for network in outcome.of(loss, budget)]
        cells = []
        for radius in radii:
            shares = outcome.broken(loss, budget, split, radius)
            each = " ".join(f"{100 * share:.1f}" for share in shares)
            cells.append(f"{100 * float(np.mean(shares)):5.1f} ({each})")
        lines.append(
            f"{budget:8}{loss:15}{split:7}{'/'.join(map(str, errors)):>8}" + "".join(f"{cell:>22}" for cell in cells)
        )
    lines += ["", "% of rightly answered images with an adversarial example within the radius: mean (each seed)", ""]
    lines += [
        f"differential - cross-entropy, {found.budget}, {found.split}, L2 {found.radius:g}: "
        f"{100 * found.mean:+.1f} [{100 * found.interval.low:+.1f}, {100 * found.interval.high:+.1f}] points of images"
        for found in outcome.differences()
    ]
    return "\n".join([*lines, "", outcome.verdict()])
