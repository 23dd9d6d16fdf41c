"""What the study of the reported figure trains on each data set, how it chooses, and what was reported there.

Sperl & Böttinger reported in public (fra31/auto-attack, issues 41 and 42) of CIFAR-10 81.75 % clean accuracy, and under
AutoAttack 41.88 % at Linf 8/255 and 56.67 % at L2 0.5. Network and method are read as `entropic-cnn` and
`ActivationEntropy` say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from retemper.checks import at_least_one, in_0_to_1
from retemper.errors import SettingError
from retemper.objectives import CrossEntropy, Objective, PGDTraining, entropic_retraining
from retemper.studies.ways import Way
from retemper.threats import L2, Linf, Threat


@dataclass(frozen=True)
class Task:
    """How networks of one data set are trained, chosen and attacked.

    Attributes:
        threats: at which they are attacked; PGD training is against the first.
        chosen_by: threats at which validation images choose a weight.
        give_up: how much clean accuracy a weight may lose there, against plain retraining.
        augmentation: of all trainings.
        reported: the share that was reported to stand under AutoAttack, for each threat of which one was.
        reported_clean: the clean accuracy that was.
    """

    threats: tuple[Threat, ...]
    chosen_by: tuple[Threat, ...]
    give_up: float
    augmentation: str
    reported: Mapping[Threat, float] = field(default_factory=dict)
    reported_clean: float | None = None


REPORTED: dict[Threat, float] = {Linf(8 / 255): 0.4188, L2(0.5): 0.5667}
MODERATE: tuple[Threat, ...] = (Linf(0.1), L2(1.5))
# On CIFAR-10 little stands at the reported radii to choose by, so that a quarter and a half of them do.
TASKS = {
    "cifar10": Task(tuple(REPORTED), (Linf(2 / 255), L2(0.25)), 0.02, "crop-and-flip", REPORTED, 0.8175),
    "mnist": Task(MODERATE, MODERATE, 0.01, "none"),
}
OTHERWISE = Task((), (), 0.01, "none")


@dataclass(frozen=True)
class Experiment:
    """What is trained and how it is looked at.

    Attributes:
        data: as `retemper.load` takes it.
        models: networks by name, each with everything below.
        weights: of the entropy term; validation images choose one for each network.
        base_epochs: of plain training from fresh weights.
        epochs: of each retraining; PGD training takes as many as both together.
        augmentation: of all trainings; None for that of the task.
        seeds: of weights and order, from 0 on; PGD training and AutoAttack have the first alone.
        images: attacked, the first ones of validation and test.
        threats: that networks are attacked at and weights chosen by; empty for those of the task.
        give_up: how much clean accuracy a weight may lose on validation images, a share; None for that of the task.
        autoattack: run the official AutoAttack too.
        adversarial: train with PGD too, to compare; it takes longer than all other trainings.

    Raises:
        SettingError: a number below one, no network or no weight, a share outside [0, 1], or no threats for data that
            `TASKS` does not know.
    """

    data: str = "cifar10"
    models: tuple[str, ...] = ("entropic-cnn", "entropic-cnn-unpadded")
    weights: tuple[float, ...] = (0.6, 1.25, 2.5, 5.0)
    base_epochs: int = 20
    epochs: int = 5
    augmentation: str | None = None
    seeds: int = 3
    images: int = 1000
    threats: tuple[Threat, ...] = ()
    give_up: float | None = None
    autoattack: bool = True
    adversarial: bool = True

    def __post_init__(self) -> None:
        at_least_one(base_epochs=self.base_epochs, epochs=self.epochs, seeds=self.seeds, images=self.images)
        if not self.models or not self.weights:
            raise SettingError("Expected one network and one weight at least, but got none.")
        if self.give_up is not None:
            in_0_to_1(give_up=self.give_up)
        if not self.task.threats:
            raise SettingError(
                f"Expected threats such as linf:0.1 for {self.data!r}, but got none; "
                f"of {' and '.join(TASKS)} alone they are known."
            )

    @property
    def task(self) -> Task:
        """That of the data, with what is asked for otherwise."""
        known = TASKS.get(self.data, OTHERWISE)
        threats = tuple(dict.fromkeys(self.threats)) or known.threats
        return Task(
            threats,
            known.chosen_by if threats == known.threats else threats,
            known.give_up if self.give_up is None else self.give_up,
            known.augmentation if self.augmentation is None else self.augmentation,
            {threat: share for threat, share in known.reported.items() if threat in threats},
            known.reported_clean,
        )

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
        """Ten-step PGD training from fresh weights, against the first of the threats."""
        settings = {"augmentation": self.task.augmentation}
        return Way(f"{model}-pgd", PGDTraining(self.task.threats[0]), model, settings=settings)

    def length(self, kind: str) -> int:
        """Epochs of the last training of "plain", "entropic" or "pgd", which has no other."""
        return self.epochs + (self.base_epochs if kind == "pgd" else 0)

    def as_json(self) -> dict[str, Any]:
        """Everything above, as it was taken."""
        task = self.task
        return {
            "data": self.data,
            "models": list(self.models),
            "weights": list(self.weights),
            "base_epochs": self.base_epochs,
            "epochs": self.epochs,
            "augmentation": task.augmentation,
            "seeds": self.seeds,
            "images": self.images,
            "threats": [str(threat) for threat in task.threats],
            "chosen_by": [str(threat) for threat in task.chosen_by],
            "give_up": task.give_up,
            "autoattack": self.autoattack,
            "adversarial": self.adversarial,
        }

    def _retraining(self, name: str, objective: Objective, model: str) -> Way:
        settings = {"augmentation": self.task.augmentation}
        return Way(name, objective, model, settings=settings, base_epochs=self.base_epochs)
