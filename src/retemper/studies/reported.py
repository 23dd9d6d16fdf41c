"""The reported figure: what the authors of entropic retraining said of CIFAR-10, put to the test.

Sperl & Böttinger reported in public (fra31/auto-attack, issues 41 and 42) 81.75 % clean accuracy, and under AutoAttack
41.88 % at Linf 8/255 and 56.67 % at L2 0.5. Network and method are read as `entropic-cnn` and `ActivationEntropy` say.
"""

from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool

from retemper.checks import at_least_one
from retemper.environment import describe
from retemper.errors import SettingError
from retemper.evaluation import Claim, Verdict, judge, paired_difference
from retemper.objectives import CrossEntropy, PGDTraining, entropic_retraining
from retemper.studies.looks import Seen
from retemper.studies.ways import Trial, Way
from retemper.threats import L2, Linf, Threat

REPORTED: dict[Threat, float] = {Linf(8 / 255): 0.4188, L2(0.5): 0.5667}
REPORTED_CLEAN = 0.8175


@dataclass(frozen=True)
class Experiment:
    """What is trained and how it is looked at.

    Attributes:
        data: as `retemper.load` takes it.
        models: networks by name, each with everything below.
        weights: of the entropy term; validation images choose one for each network.
        base_epochs: of plain training from fresh weights.
        epochs: of each retraining; PGD training takes as many as both together.
        augmentation: of all trainings.
        seeds: of weights and order, from 0 on; PGD training and AutoAttack have the first alone.
        images: attacked, the first ones of validation and test.
        autoattack: run the official AutoAttack too.
        adversarial: train with PGD too, to compare; it takes longer than all other trainings.

    Raises:
        SettingError: a number below one, no network or no weight.
    """

    data: str = "cifar10"
    models: tuple[str, ...] = ("entropic-cnn", "entropic-cnn-unpadded")
    weights: tuple[float, ...] = (0.6, 1.25, 2.5, 5.0)
    base_epochs: int = 20
    epochs: int = 5
    augmentation: str = "crop-and-flip"
    seeds: int = 3
    images: int = 1000
    autoattack: bool = True
    adversarial: bool = True

    def __post_init__(self) -> None:
        at_least_one(base_epochs=self.base_epochs, epochs=self.epochs, seeds=self.seeds, images=self.images)
        if not self.models or not self.weights:
            raise SettingError("Expected one network and one weight at least, but got none.")

    def plain(self, model: str) -> Way:
        """Plain retraining, the same length as the entropic one."""
        return self._retraining(f"{model}-plain", CrossEntropy(), model)

    def entropic(self, model: str) -> list[Way]:
        """Entropic retraining with each weight."""
        return [
            self._retraining(f"{model}-entropic-{weight:g}", entropic_retraining(weight), model)
            for weight in self.weights
        ]

    def pgd(self, model: str) -> Way:
        """Ten-step PGD training from fresh weights, against the first of the reported threats."""
        settings = {"augmentation": self.augmentation}
        return Way(f"{model}-pgd", PGDTraining(next(iter(REPORTED))), model, settings=settings)

    def _retraining(self, name: str, objective: Any, model: str) -> Way:
        return Way(name, objective, model, settings={"augmentation": self.augmentation}, base_epochs=self.base_epochs)


@dataclass(frozen=True)
class Network:
    """One network on test images.

    Attributes:
        model: its name.
        way: "plain", "entropic" or "pgd".
        seed: of weights and order.
        seconds: that all steps of its last training took.
        clean: whether each image is answered rightly.
        seen: for each reported threat, what every way of looking left standing.
    """

    model: str
    way: str
    seed: int
    seconds: float
    clean: Bool[np.ndarray, " images"]
    seen: dict[Threat, tuple[Seen, ...]]

    def looks(self, threat: Threat) -> set[str]:
        """The ways in which it was looked at."""
        return {seen.look for seen in self.seen[threat]}

    def worst(self, threat: Threat, looks: Set[str] | None = None) -> Bool[np.ndarray, " images"]:
        """What stood whatever way it was looked at, or in each of these ways."""
        chosen = [seen.standing for seen in self.seen[threat] if looks is None or seen.look in looks]
        return np.logical_and.reduce(chosen)

    def verdict(self, threat: Threat) -> Verdict:
        """On the reported figure, as a claim about this network."""
        ringing = {name for seen in self.seen[threat] for name in seen.ringing}
        return judge(Claim(REPORTED[threat], threat), self.worst(threat), ringing=sorted(ringing))


@dataclass(frozen=True)
class Outcome:
    """What the experiment found.

    Attributes:
        experiment: what was run.
        chosen: for each network the way of entropic retraining that validation images chose.
        trials: what each candidate reached there.
        networks: of all kinds and seeds.
    """

    experiment: Experiment
    chosen: dict[str, str]
    trials: tuple[Trial, ...]
    networks: tuple[Network, ...]

    def of(self, model: str, way: str) -> list[Network]:
        """The networks of all seeds."""
        return [network for network in self.networks if (network.model, network.way) == (model, way)]

    def yielding(self, model: str, threat: Threat) -> list[str]:
        """The ways of looking at which an entropic network seems as robust as was reported, or more so."""
        names = dict.fromkeys(seen.look for network in self.of(model, "entropic") for seen in network.seen[threat])
        return [name for name in names if self.share(model, "entropic", threat, name) >= REPORTED[threat]]

    def share(self, model: str, way: str, threat: Threat, look: str) -> float:
        """The mean over seeds of what a way of looking left standing, in [0, 1]; NaN where no seed was looked at so."""
        shares = [
            float(seen.standing.mean())
            for network in self.of(model, way)
            for seen in network.seen[threat]
            if seen.look == look
        ]
        return float(np.mean(shares)) if shares else float("nan")

    def verdict(self) -> str:
        """Whether the reported figures were reproduced, in words, for each network and threat."""
        said = []
        for model in self.experiment.models:
            for threat, reported in REPORTED.items():
                words = [network.verdict(threat).word for network in self.of(model, "entropic")]
                reached = float(np.mean([network.worst(threat).mean() for network in self.of(model, "entropic")]))
                looks = self.yielding(model, threat)
                seems = f"; so it seems only by {', '.join(looks)}" if looks and "refuted" in words else ""
                said.append(
                    f"{model}, {threat}: {_reproduced(words)}: {reached:.1%} stand where {reported:.2%} were reported "
                    f"({', '.join(words)}){seems}."
                )
        return "\n".join(said)

    def as_json(self) -> dict[str, Any]:
        """Everything, image by image."""
        return {
            "experiment": asdict(self.experiment),
            "reported": {"clean": REPORTED_CLEAN, **{str(threat): share for threat, share in REPORTED.items()}},
            "chosen": self.chosen,
            "trials": [asdict(trial) for trial in self.trials],
            "networks": [
                {
                    "model": network.model,
                    "way": network.way,
                    "seed": network.seed,
                    "seconds": network.seconds,
                    "clean": network.clean.tolist(),
                    "seen": {
                        str(threat): {one.look: one.standing.tolist() for one in seen}
                        for threat, seen in network.seen.items()
                    },
                    "verdicts": {str(threat): network.verdict(threat).as_json() for threat in network.seen},
                }
                for network in self.networks
            ],
            "verdict": self.verdict(),
            "environment": describe(),
        }


def table(outcome: Outcome) -> str:
    """The search, then a row for each network and way of looking: mean over seeds with each seed."""
    lines = ["tried on validation images (* chosen): clean, robust (mean of small radii)"]
    for trial in outcome.trials:
        mark = " *" if trial.way in outcome.chosen.values() else ""
        lines.append(f"  {trial.way + mark:40}{trial.clean:8.1%}{trial.robust:8.1%}")
    head = "".join(f"{threat!s:>24}" for threat in REPORTED)
    lines += ["", f"{'%':58}{'clean':>10}{head}"]
    reported = "".join(f"{f'{100 * share:.2f}':>24}" for share in REPORTED.values())
    lines.append(f"{'reported':58}{f'{100 * REPORTED_CLEAN:.2f}':>10}{reported}")
    for model, way in product(outcome.experiment.models, ("plain", "entropic", "pgd")):
        networks = outcome.of(model, way)
        if not networks:  # PGD training can be left out
            continue
        clean = 100 * float(np.mean([network.clean.mean() for network in networks]))
        for place, look in enumerate(dict.fromkeys(one.look for network in networks for one in _first(network))):
            cells = []
            for threat in REPORTED:
                seen = [one for network in networks for one in network.seen[threat] if one.look == look]
                shares = [100 * float(one.standing.mean()) for one in seen]
                rings = " !" if any(one.ringing for one in seen) else ""
                each = " ".join(f"{share:.1f}" for share in shares)
                cells.append(f"{np.mean(shares):.1f}{rings}" + (f" ({each})" if len(shares) > 1 else ""))
            name = f"{model}, {way}, {look}"
            lines.append(f"{name:58}{f'{clean:.1f}' if place == 0 else '':>10}" + "".join(f"{c:>24}" for c in cells))
    lines += ["", "! an alarm rings that nothing answered", ""]
    for model, threat in product(outcome.experiment.models, REPORTED):
        plain, ours = outcome.of(model, "plain"), outcome.of(model, "entropic")
        # AutoAttack was run on some networks alone: what it takes from one side would count against that side.
        both = set.intersection(*(network.looks(threat) for network in (*plain, *ours)))
        mean, (low, high) = paired_difference(
            [network.worst(threat, both) for network in ours], [network.worst(threat, both) for network in plain]
        )
        lines.append(
            f"{model}, entropic - plain, {threat}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points"
        )
    return "\n".join([*lines, "", outcome.verdict()])


def _reproduced(words: Sequence[str]) -> str:
    """The verdicts on all seeds as one: the worst of them."""
    if "refuted" in words:
        return "not reproduced under our reading and search"
    if "not to be trusted" in words:
        return "cannot be told, as alarms ring"
    return "within the noise of what was reported" if "undecided" in words else "reproduced"


def _first(network: Network) -> tuple[Seen, ...]:
    return next(iter(network.seen.values()))
