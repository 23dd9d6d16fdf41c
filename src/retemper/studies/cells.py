"""What ways of retraining gained over plain retraining from the same networks, and what they cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from retemper.evaluation import paired_difference
from retemper.evaluation.intervals import Interval
from retemper.threats import Threat

PLAIN, DEFAULT, AUTO, PGD = "plain", "entropic", "auto", "pgd"
CLEAN = "clean"

# Who is held against whom.
_PAIRS = ((DEFAULT, PLAIN), (AUTO, PLAIN), (PGD, PLAIN), (AUTO, DEFAULT))


@dataclass(frozen=True)
class Network:
    """One network on test images.

    Attributes:
        way: of its retraining: `PLAIN`, `DEFAULT`, `AUTO` or `PGD`.
        seed: of weights and order.
        weight: of the entropy term, where validation images chose it.
        steps: seconds that all steps of its retraining took; None where it was chosen among several retrainings.
        waited: seconds by the clock on the wall until it was there: steps, checkpoints, and all that was tried.
        clean: whether each image is answered rightly.
        standing: for each threat, whether each image withstood all attacks.
        ringing: for each threat, the alarms that say that this cannot be trusted.
    """

    way: str
    seed: int
    weight: float | None
    steps: float | None
    waited: float
    clean: Bool[np.ndarray, " images"]
    standing: dict[Threat, Bool[np.ndarray, " images"]]
    ringing: dict[Threat, tuple[str, ...]]

    def right(self, threat: Threat | None) -> Bool[np.ndarray, " images"]:
        """Whether each image is answered rightly, under attack or, for None, as it is."""
        return self.clean if threat is None else self.standing[threat]

    def as_json(self) -> dict[str, Any]:
        """Everything, image by image."""
        return {
            "way": self.way,
            "seed": self.seed,
            "weight": self.weight,
            "steps": self.steps,
            "waited": self.waited,
            "clean": self.clean.tolist(),
            "standing": {str(threat): standing.tolist() for threat, standing in self.standing.items()},
            "ringing": {str(threat): list(names) for threat, names in self.ringing.items()},
        }


@dataclass(frozen=True)
class Difference:
    """How many more images one way answers rightly than another, as a share, and its 95 % interval.

    Attributes:
        way: whose it is.
        over: what it is held against.
        measure: a threat, or `CLEAN`.
        mean: over the seeds that both have.
        interval: paired over images.
    """

    way: str
    over: str
    measure: str
    mean: float
    interval: Interval


@dataclass(frozen=True)
class Cell:
    """One network on one data set, retrained in every way.

    Attributes:
        data: its name.
        model: its name.
        threats: that it was attacked at.
        networks: of all ways and seeds.
    """

    data: str
    model: str
    threats: tuple[Threat, ...]
    networks: tuple[Network, ...]

    def of(self, way: str) -> list[Network]:
        """The networks of all seeds."""
        return [network for network in self.networks if network.way == way]

    def difference(self, way: str, over: str, threat: Threat | None) -> Difference:
        """Between two ways at a threat, or of clean accuracy for None."""
        pairs = self._pairs(way, over)
        mean, interval = paired_difference(
            [ours.right(threat) for ours, _ in pairs], [theirs.right(threat) for _, theirs in pairs]
        )
        return Difference(way, over, CLEAN if threat is None else str(threat), mean, interval)

    def cost(self, way: str) -> float:
        """Its time over that of plain retraining, both summed over the seeds that both have.

        Of all steps; for a way that tried several retrainings, by the clock on the wall.
        """
        pairs = self._pairs(way, PLAIN)
        steps = [(ours.steps, plain.steps) for ours, plain in pairs if ours.steps is not None and plain.steps]
        times: Sequence[tuple[float, float]] = steps or [(ours.waited, plain.waited) for ours, plain in pairs]
        return sum(ours for ours, _ in times) / sum(plain for _, plain in times)

    def worse(self) -> list[Difference]:
        """Where the chosen weight stands below the default one, with the whole interval."""
        found = [self.difference(AUTO, DEFAULT, threat) for threat in self.threats]
        return [difference for difference in found if difference.interval.high < 0]

    def as_json(self) -> dict[str, Any]:
        """Everything, image by image."""
        return {
            "data": self.data,
            "model": self.model,
            "networks": [network.as_json() for network in self.networks],
            "differences": [
                asdict(self.difference(way, over, threat)) for way, over in _PAIRS for threat in (None, *self.threats)
            ],
            "costs": {way: self.cost(way) for way in (DEFAULT, AUTO, PGD)},
        }

    def _pairs(self, way: str, over: str) -> list[tuple[Network, Network]]:
        theirs = {network.seed: network for network in self.of(over)}
        return [(network, theirs[network.seed]) for network in self.of(way) if network.seed in theirs]
