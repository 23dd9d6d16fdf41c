"""A contest: rival ways of training, each tuned on validation data, attacked alike, compared image by image."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from retemper.checks import at_least_one
from retemper.data import Data, load
from retemper.environment import describe
from retemper.errors import SettingError
from retemper.evaluation.intervals import Interval, paired_difference
from retemper.files import write_json
from retemper.studies.attacking import measured
from retemper.studies.ways import Trial, Way, tuned
from retemper.threats import Threat
from retemper.training.budget import least_clean


@dataclass(frozen=True)
class Contest:
    """What is trained and how it is attacked.

    Attributes:
        data: as `retemper.load` takes it.
        classes: of the data; empty for all.
        rivals: for each the ways that validation data choose from; the others are held against the first.
        threats: of any norms; validation data choose by the mean of the robust accuracies.
        epochs: of every training.
        seeds: of weights and order, from 0 on.
        images: attacked, the first ones of validation and test.
        floor: the clean accuracy on validation images that a way must have to be chosen; None for the best of its
            rival less `ways.WITHIN`.
        give_up: instead of a floor, how much clean accuracy the others may lose against the first rival.
        once: rivals that are trained from the first seed alone, such as expensive peers.

    Raises:
        SettingError: a number below one, no threat, fewer than two rivals, both a floor and something to give up, or
            an unknown rival.
    """

    data: str
    classes: tuple[str, ...]
    rivals: Mapping[str, Sequence[Way]]
    threats: tuple[Threat, ...]
    epochs: int
    seeds: int = 3
    images: int = 1000
    floor: float | None = None
    give_up: float | None = None
    once: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least_one(epochs=self.epochs, seeds=self.seeds, images=self.images)
        if not self.threats:
            raise SettingError("Expected at least one threat, such as l2:0.5, but got none.")
        if len(self.rivals) < 2:
            raise SettingError(f"Expected two rivals or more, but got {', '.join(self.rivals) or 'none'}.")
        if self.floor is not None and self.give_up is not None:
            raise SettingError(f"Expected `floor` or `give_up`, but got both: {self.floor} and {self.give_up}.")
        if unknown := set(self.once) - set(self.rivals):
            raise SettingError(f"Expected `once` out of {', '.join(self.rivals)}, but got {', '.join(unknown)}.")

    def as_json(self) -> dict[str, Any]:
        """What was run, ways by their names and objectives."""
        return {
            "data": self.data,
            "classes": list(self.classes),
            "rivals": {
                rival: {
                    way.name: {
                        "objective": repr(way.objective),
                        "model": way.model,
                        "activation": way.activation,
                        "settings": dict(way.settings),
                        "base_epochs": way.base_epochs,
                        "epochs": way.epochs,
                        "smooth": way.smooth,
                    }
                    for way in candidates
                }
                for rival, candidates in self.rivals.items()
            },
            "threats": [str(threat) for threat in self.threats],
            "epochs": self.epochs,
            "seeds": self.seeds,
            "images": self.images,
            "floor": self.floor,
            "give_up": self.give_up,
            "once": list(self.once),
        }


@dataclass(frozen=True)
class Network:
    """One network on test images.

    Attributes:
        rival: whose it is.
        seed: of weights and order.
        seconds: that all steps of its training took.
        clean: whether each image is answered rightly.
        standing: for each threat, whether each image withstood all attacks.
        ringing: for each threat, the alarms that say that this cannot be trusted.
    """

    rival: str
    seed: int
    seconds: float
    clean: Bool[np.ndarray, " images"]
    standing: tuple[Bool[np.ndarray, " images"], ...]
    ringing: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Gain:
    """How many more images a rival answers rightly than the first one: paired over images.

    Attributes:
        rival: which.
        threat: at which.
        mean: over the seeds that both have.
        interval: for all seeds.
        each: the interval of each seed on its own.
    """

    rival: str
    threat: str
    mean: float
    interval: Interval
    each: tuple[Interval, ...]


@dataclass(frozen=True)
class Result:
    """What a contest found.

    Attributes:
        contest: what was run.
        chosen: each rival's way.
        trials: what each candidate reached on validation images.
        networks: of all rivals and seeds.
    """

    contest: Contest
    chosen: dict[str, str]
    trials: tuple[Trial, ...]
    networks: tuple[Network, ...]

    def of(self, rival: str) -> list[Network]:
        """The networks of all seeds."""
        return [network for network in self.networks if network.rival == rival]

    def gains(self) -> list[Gain]:
        """Of every rival over the first, at every threat."""
        first, *others = self.contest.rivals
        return [
            self._gain(rival, first, place, str(threat))
            for rival in others
            for place, threat in enumerate(self.contest.threats)
        ]

    def _gain(self, rival: str, first: str, place: int, threat: str) -> Gain:
        # A rival that was trained once is held against the other's network of the same seed.
        pairs = list(zip(self.of(rival), self.of(first), strict=False))
        ours, theirs = ([pair[side].standing[place] for pair in pairs] for side in (0, 1))
        each = tuple(paired_difference([one], [other])[1] for one, other in zip(ours, theirs, strict=True))
        return Gain(rival, threat, *paired_difference(ours, theirs), each)

    def as_json(self) -> dict[str, Any]:
        """Everything, image by image."""
        return {
            "contest": self.contest.as_json(),
            "chosen": self.chosen,
            "trials": [asdict(trial) for trial in self.trials],
            "networks": [
                {
                    "rival": network.rival,
                    "seed": network.seed,
                    "seconds": network.seconds,
                    "clean": network.clean.tolist(),
                    "standing": {
                        str(threat): standing.tolist()
                        for threat, standing in zip(self.contest.threats, network.standing, strict=True)
                    },
                    "ringing": {
                        str(threat): list(names)
                        for threat, names in zip(self.contest.threats, network.ringing, strict=True)
                    },
                }
                for network in self.networks
            ],
            "gains": [asdict(gain) for gain in self.gains()],
            "environment": describe(),
        }


def run(contest: Contest, out: Path | str, *, part: int = 0, parts: int = 1, progress: bool = True) -> Result:
    """Choose, train and attack; the same call goes on where a killed one was.

    Args:
        contest: what is run.
        out: a folder for the networks, what is known of their images, and `result.json`.
        part: which of the parts this is, from 0 on.
        parts: among how many processes the rivals are shared; one that has some of them alone writes no `result.json`.
            The same call in one part, after them, has nothing left to do but that.
        progress: show one line that says where it is.

    Raises:
        RetemperError: the data or a setting is wrong, or `out` holds something else.
        OSError: `out` cannot be written.
    """
    if parts > 1 and contest.give_up is not None:
        raise SettingError("Expected one part, as the others' floor hangs on the first rival, but got `give_up`.")
    folder, data = Path(out), load(contest.data, classes=contest.classes or None)
    chosen: dict[str, str] = {}
    trials: list[Trial] = []
    networks: list[Network] = []
    floor = contest.floor
    for rival in list(contest.rivals)[part::parts]:
        way, tried = tuned(
            contest.rivals[rival],
            data,
            contest.threats,
            folder,
            epochs=contest.epochs,
            images=contest.images,
            progress=progress,
            floor=floor,
        )
        if contest.give_up is not None and floor is None:
            first = next(trial.clean for trial in tried if trial.way == way.name)
            floor = least_clean(first, contest.give_up)
        chosen[rival] = way.name
        trials += tried
        seeds = 1 if rival in contest.once else contest.seeds
        networks += [_network(contest, rival, way, data, folder, seed, progress=progress) for seed in range(seeds)]
    networks.sort(key=lambda network: network.seed)
    result = Result(contest, chosen, tuple(trials), tuple(networks))
    if parts == 1:
        write_json(folder / "result.json", result.as_json())
    return result


def _network(contest: Contest, rival: str, way: Way, data: Data, folder: Path, seed: int, *, progress: bool) -> Network:
    place = folder / f"{way.name}-{seed}"
    model, training = way.train(data, place, epochs=contest.epochs, seed=seed, progress=progress)
    images, label = data.test.take(contest.images), f"{rival}, seed {seed}"
    found = measured(model, images, contest.threats, place / "test", progress=progress, label=label)
    return Network(
        rival,
        seed,
        training.seconds,
        found.clean,
        tuple(each.standing for each in found.robustness),
        tuple(each.ringing for each in found.robustness),
    )
