"""The reported figure put to the test: what every network and way of looking left, and the verdict."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool

from retemper.environment import describe
from retemper.evaluation import Claim, Verdict, judge, paired_difference
from retemper.report.results import Share
from retemper.studies.experiment import Experiment
from retemper.studies.looks import Seen
from retemper.studies.ways import Trial
from retemper.threats import Threat

WAYS = ("plain", "entropic", "pgd")


@dataclass(frozen=True)
class Network:
    """One network on test images.

    Attributes:
        model: its name.
        way: "plain", "entropic" or "pgd".
        seed: of weights and order.
        seconds: that all steps of its last training took.
        clean: whether each image is answered rightly.
        seen: for each threat, what every way of looking left standing.
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

    def ringing(self, threat: Threat) -> list[str]:
        """The alarms that nothing answered."""
        return sorted({name for seen in self.seen[threat] for name in seen.ringing})

    def verdict(self, threat: Threat, reported: float) -> Verdict:
        """On a reported share in [0, 1], as a claim about this network."""
        return judge(Claim(reported, threat), self.worst(threat), ringing=self.ringing(threat))


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

    def yielding(self, model: str, threat: Threat, reported: float) -> list[str]:
        """The ways of looking at which an entropic network seems as robust as was reported, or more so."""
        names = dict.fromkeys(seen.look for network in self.of(model, "entropic") for seen in network.seen[threat])
        return [name for name in names if self.share(model, "entropic", threat, name) >= reported]

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
        """What stands, and whether that reproduces what was reported, in words, for each network and threat."""
        task = self.experiment.task
        return "\n".join(
            f"{model}, {threat}: {self._verdict(model, threat, task.reported.get(threat))}"
            for model, threat in product(self.experiment.models, task.threats)
        )

    def _verdict(self, model: str, threat: Threat, reported: float | None) -> str:
        networks = self.of(model, "entropic")
        share = Share.of([network.worst(threat) for network in networks])
        low, high = share.interval
        stand = f"{share.mean:.1%} ({100 * low:.1f}-{100 * high:.1f}) stand"
        if reported is None:
            rung = sorted({name for network in networks for name in network.ringing(threat)})
            trust = f", and cannot be trusted: {', '.join(rung)}" if rung else ""
            return f"nothing was reported; {stand}{trust}."
        words = [network.verdict(threat, reported).word for network in networks]
        looks = self.yielding(model, threat, reported)
        seems = f"; so it seems only by {', '.join(looks)}" if looks and "refuted" in words else ""
        return f"{_reproduced(words)}: {stand} where {reported:.2%} were reported ({', '.join(words)}){seems}."

    def as_json(self) -> dict[str, Any]:
        """Everything, image by image."""
        task = self.experiment.task
        return {
            "experiment": self.experiment.as_json(),
            "reported": {"clean": task.reported_clean, **{str(threat): one for threat, one in task.reported.items()}},
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
                    "ringing": {str(threat): network.ringing(threat) for threat in network.seen},
                    "verdicts": {
                        str(threat): network.verdict(threat, one).as_json() for threat, one in task.reported.items()
                    },
                }
                for network in self.networks
            ],
            "verdict": self.verdict(),
            "environment": describe(),
        }


def table(outcome: Outcome) -> str:
    """The search, then a row for each network and way of looking: mean over seeds with each seed; gains and cost."""
    task, models = outcome.experiment.task, outcome.experiment.models
    by = ", ".join(map(str, task.chosen_by))
    lines = [f"tried on validation images (* chosen): clean, robust (mean of {by})"]
    for trial in outcome.trials:
        mark = " *" if trial.way in outcome.chosen.values() else ""
        lines.append(f"  {trial.way + mark:40}{trial.clean:8.1%}{trial.robust:8.1%}")
    lines += ["", f"{'%':58}{'clean':>10}" + "".join(f"{threat!s:>24}" for threat in task.threats)]
    if task.reported_clean is not None:
        shares = [f"{100 * task.reported[one]:.2f}" if one in task.reported else "" for one in task.threats]
        lines.append(
            f"{'reported':58}{f'{100 * task.reported_clean:.2f}':>10}" + "".join(f"{share:>24}" for share in shares)
        )
    for model, way in product(models, WAYS):
        if networks := outcome.of(model, way):  # PGD training can be left out
            lines += _rows(f"{model}, {way}", networks, task.threats)
    lines += ["", "! an alarm rings that nothing answered", ""]
    lines += [_gain(outcome, model, threat) for model, threat in product(models, task.threats)]
    lines += ["", *(_cost(outcome, model) for model in models)]
    return "\n".join([*lines, "", outcome.verdict()])


def _rows(name: str, networks: Sequence[Network], threats: Sequence[Threat]) -> Iterator[str]:
    clean = f"{100 * float(np.mean([network.clean.mean() for network in networks])):.1f}"
    for place, look in enumerate(dict.fromkeys(one.look for network in networks for one in _first(network))):
        cells = []
        for threat in threats:
            seen = [one for network in networks for one in network.seen[threat] if one.look == look]
            shares = [100 * float(one.standing.mean()) for one in seen]
            rings = " !" if any(one.ringing for one in seen) else ""
            each = " ".join(f"{share:.1f}" for share in shares)
            cells.append(f"{np.mean(shares):.1f}{rings}" + (f" ({each})" if len(shares) > 1 else ""))
        yield f"{f'{name}, {look}':58}{clean if place == 0 else '':>10}" + "".join(f"{cell:>24}" for cell in cells)


def _gain(outcome: Outcome, model: str, threat: Threat) -> str:
    plain, ours = outcome.of(model, "plain"), outcome.of(model, "entropic")
    # AutoAttack was run on some networks alone: what it takes from one side would count against that side.
    both = set.intersection(*(network.looks(threat) for network in (*plain, *ours)))
    mean, (low, high) = paired_difference(
        [network.worst(threat, both) for network in ours], [network.worst(threat, both) for network in plain]
    )
    return f"{model}, entropic - plain, {threat}: {100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points"


def _cost(outcome: Outcome, model: str) -> str:
    said = [
        f"{way} {np.mean([network.seconds for network in networks]) / outcome.experiment.length(way):.1f}"
        for way in WAYS
        if (networks := outcome.of(model, way))
    ]
    return f"{model}, seconds an epoch of its last training: {', '.join(said)}"


def _reproduced(words: Sequence[str]) -> str:
    """The verdicts on all seeds as one: the worst of them."""
    if "refuted" in words:
        return "not reproduced under our reading and search"
    if "not to be trusted" in words:
        return "cannot be told, as alarms ring"
    return "within the noise of what was reported" if "undecided" in words else "reproduced"


def _first(network: Network) -> tuple[Seen, ...]:
    return next(iter(network.seen.values()))
