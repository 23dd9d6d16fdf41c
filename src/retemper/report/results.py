"""What a comparison found, as `results.json` holds it, and the rows of its table."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from retemper.evaluation import Evaluation, Interval, paired_difference, wilson
from retemper.information import LayerProfile
from retemper.threats import Threat, parse

REFERENCE = "plain"  # the objective that the others are compared with


@dataclass(frozen=True)
class Outcome:
    """What the attacks left standing at one threat: one character an image, 1 where it stands."""

    threat: str
    standing: str
    broken_by: dict[str, int]


@dataclass(frozen=True)
class Network:
    """One trained network: an objective and a seed.

    Attributes:
        objective: its name in the table.
        seed: of weights, order and random starts.
        clean: one character a test image, 1 where it is answered rightly.
        outcomes: one a threat.
        training_seconds: all steps that led to it, those of the network it was retrained from included.
        layers: its profile.
    """

    objective: str
    seed: int
    clean: str
    outcomes: tuple[Outcome, ...]
    training_seconds: float
    layers: tuple[LayerProfile, ...]


@dataclass(frozen=True)
class Share:
    """A share of test images: its mean over seeds, the Wilson interval for that many images, each seed's own."""

    mean: float
    interval: Interval
    seeds: tuple[float, ...]

    @classmethod
    def of(cls, standing: Sequence[np.ndarray]) -> "Share":
        """From what each seed's network answers rightly, image by image."""
        seeds = tuple(float(row.mean()) for row in standing)
        images = len(standing[0])
        mean = float(np.mean(seeds))
        return cls(mean, wilson(mean * images, images), seeds)


@dataclass(frozen=True)
class Row:
    """One objective of the table.

    Attributes:
        objective: its name.
        clean: clean accuracy.
        robust: robust accuracy by threat.
        gain: robust accuracy minus that of plain training on the same images, with the paired interval, by
            threat; empty for plain training itself.
        time_ratio: training time over that of plain training with the same seed, one number a seed that both
            have; empty without plain training.
    """

    objective: str
    clean: Share
    robust: dict[str, Share]
    gain: dict[str, tuple[float, Interval]]
    time_ratio: tuple[float, ...]


@dataclass(frozen=True)
class Results:
    """A whole comparison: what was asked, on what, and what came out.

    Attributes:
        settings: everything that it takes to run it again, `model`, `split` and `command` among it.
        environment: versions and machine.
        data: `name`, `note` (may be empty), `images` (split -> how many), `classes`, `fingerprint`.
        objectives: name -> {"formula", "summary", "retrains"}.
        attacks: names with their settings.
        networks: one an objective and seed.
    """

    settings: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    objectives: dict[str, dict[str, Any]]
    attacks: tuple[str, ...]
    networks: tuple[Network, ...]

    def threats(self) -> list[Threat]:
        """The threats, in the order of the table."""
        return [parse(outcome.threat)[0] for outcome in self.networks[0].outcomes]

    @property
    def images(self) -> int:
        """How many test images were attacked."""
        return len(self.networks[0].clean)

    @property
    def seeds(self) -> list[int]:
        """The seeds, each once, from low to high."""
        return sorted({network.seed for network in self.networks})

    def rows(self) -> list[Row]:
        """One row an objective, in the order in which they were asked for."""
        return [self._row(name) for name in self.objectives]

    def of(self, objective: str) -> list[Network]:
        """The networks of one objective, one a seed."""
        return [network for network in self.networks if network.objective == objective]

    def difference(self, objective: str, other: str, threat: str) -> tuple[float, Interval]:
        """How much more robust accuracy one objective has than another on the same images, with its interval."""
        return paired_difference(self._standing(objective, threat), self._standing(other, threat))

    def _standing(self, objective: str, threat: str) -> list[np.ndarray]:
        """For each seed, which images stand at a threat."""
        return [
            _bits(outcome.standing)
            for network in self.of(objective)
            for outcome in network.outcomes
            if outcome.threat == threat
        ]

    def _row(self, name: str) -> Row:
        networks, plain = self.of(name), self.of(REFERENCE)
        plain_seconds = {network.seed: network.training_seconds for network in plain}
        threats = [outcome.threat for outcome in networks[0].outcomes]
        compared = threats if plain and name != REFERENCE else []
        return Row(
            objective=name,
            clean=Share.of([_bits(network.clean) for network in networks]),
            robust={threat: Share.of(self._standing(name, threat)) for threat in threats},
            gain={threat: self.difference(name, REFERENCE, threat) for threat in compared},
            time_ratio=tuple(
                network.training_seconds / plain_seconds[network.seed]
                for network in networks
                if network.seed in plain_seconds
            ),
        )

    def as_json(self) -> dict[str, Any]:
        """The content of `results.json`; the rows of the table are in it for those who only read."""
        plain = asdict(replace(self, networks=())) | {"networks": [network_as_json(found) for found in self.networks]}
        return plain | {"table": [asdict(row) for row in self.rows()]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Results":
        """Read back what `as_json` gave."""
        return cls(
            settings=value["settings"],
            environment=value["environment"],
            data=value["data"],
            objectives=value["objectives"],
            attacks=tuple(value["attacks"]),
            networks=tuple(network_from_json(network) for network in value["networks"]),
        )


def network_from(
    objective: str, seed: int, evaluation: Evaluation, training_seconds: float, layers: Sequence[LayerProfile]
) -> Network:
    """A network's entry, from what was measured on it."""
    return Network(
        objective=objective,
        seed=seed,
        clean=_text(evaluation.clean),
        outcomes=tuple(
            Outcome(str(found.threat), _text(found.standing), found.broken_by) for found in evaluation.robustness
        ),
        training_seconds=training_seconds,
        layers=tuple(layers),
    )


def network_as_json(network: Network) -> dict[str, Any]:
    """One network's entry as JSON."""
    return asdict(replace(network, layers=())) | {"layers": [layer.as_json() for layer in network.layers]}


def network_from_json(value: dict[str, Any]) -> Network:
    """Read back one network's entry."""
    return Network(
        **value
        | {
            "outcomes": tuple(Outcome(**outcome) for outcome in value["outcomes"]),
            "layers": tuple(LayerProfile.from_json(layer) for layer in value["layers"]),
        }
    )


def _text(bits: np.ndarray) -> str:
    return "".join("1" if bit else "0" for bit in bits)


def _bits(text: str) -> np.ndarray:
    return np.array([character == "1" for character in text])
