"""What an evaluation found."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from retemper.evaluation.alarms import Alarm
from retemper.evaluation.claim import Claim, Verdict, judge, parse_claim
from retemper.evaluation.curve import Curve
from retemper.evaluation.intervals import Interval, wilson
from retemper.threats import Threat

Standing = Bool[np.ndarray, " images"]


@dataclass(frozen=True)
class Example:
    """An adversarial input that an attack found: a proof, for anyone to check."""

    index: int
    label: int
    predicted: int
    original: Tensor
    adversarial: Tensor


@dataclass(frozen=True)
class Robustness:
    """What the attacks left standing at one threat: an upper bound of the robust accuracy, never a proof of it.

    Attributes:
        threat: norm, radius and bounds.
        standing: for every image, whether it is answered rightly and no attack moved it to a wrong answer.
        broken_by: how many images each attack was the first to break; those that fell at a smaller radius
            of the same norm are counted under "smaller radius".
        examples: some of the adversarial inputs.
        alarms: every alarm that was sounded, those that ring and those that do not.
    """

    threat: Threat
    standing: Standing
    broken_by: dict[str, int]
    examples: tuple[Example, ...] = field(default=(), repr=False)
    alarms: tuple[Alarm, ...] = field(default=(), repr=False)

    @property
    def accuracy(self) -> float:
        """The share of images that still stand, in [0, 1]."""
        return float(self.standing.mean())

    @property
    def interval(self) -> Interval:
        """Its Wilson interval at 95 %."""
        return wilson(int(self.standing.sum()), len(self.standing))

    @property
    def ringing(self) -> tuple[str, ...]:
        """The names of the alarms that ring and that nothing has answered."""
        return tuple(alarm.name for alarm in self.alarms if alarm.rings and not alarm.answered_by)


@dataclass(frozen=True)
class Evaluation:
    """Clean accuracy, and robustness at each threat in the order in which the threats were given.

    Attributes:
        clean: for every image, whether it is answered rightly.
        robustness: one a threat.
        curves: one a norm: what the attacks say of every radius.
        attacks: what ran, with settings.
        seed: of the attacks' random numbers.
        draws: how many answers of a randomised model make the majority that counts as its answer; 1 for all
            others.
    """

    clean: Standing
    robustness: tuple[Robustness, ...]
    curves: tuple[Curve, ...]
    attacks: tuple[str, ...]
    seed: int
    draws: int = 1

    @property
    def clean_accuracy(self) -> float:
        """The share of images that are answered rightly as they are, in [0, 1]."""
        return float(self.clean.mean())

    @property
    def clean_interval(self) -> Interval:
        """Its Wilson interval at 95 %."""
        return wilson(int(self.clean.sum()), len(self.clean))

    def at(self, threat: Threat) -> Robustness:
        """The robustness at one of the threats that were asked for.

        Raises:
            KeyError: it was not.
        """
        for found in self.robustness:
            if found.threat == threat:
                return found
        known = ", ".join(found.threat.in_full for found in self.robustness)
        raise KeyError(f"{threat.in_full} is none of {known}")

    def verdict(self, claim: Claim | str) -> Verdict:
        """What the attacks say of a claim, such as "0.41@linf:8/255"; the alarms at its threat are heard.

        A claim within other bounds than [0, 1] is no text: `Claim(0.41, Linf(8 / 255, bounds=(-1, 1)))`.

        Raises:
            SettingError: the claim cannot be read.
            KeyError: its threat is none of those that were asked for.
        """
        claimed = parse_claim(claim) if isinstance(claim, str) else claim
        found = self.at(claimed.threat)
        return judge(claimed, found.standing, ringing=found.ringing)

    def as_json(self) -> dict[str, Any]:
        """Every figure, and for every image, by a 1 or a 0, whether it stands."""
        return {
            "clean": {"accuracy": self.clean_accuracy, "interval": self.clean_interval, "standing": bits(self.clean)},
            "robustness": [
                {
                    "threat": str(found.threat),
                    "bounds": found.threat.bounds,
                    "accuracy": found.accuracy,
                    "interval": found.interval,
                    "broken_by": found.broken_by,
                    "standing": bits(found.standing),
                    "alarms": [asdict(alarm) | {"rings": alarm.rings} for alarm in found.alarms],
                }
                for found in self.robustness
            ],
            "curves": [curve.as_json() for curve in self.curves],
            "attacks": self.attacks,
            "seed": self.seed,
            "draws": self.draws,
        }


def bits(standing: Standing) -> str:
    """One character an image, 1 where it stands."""
    return "".join("1" if stands else "0" for stands in standing)
