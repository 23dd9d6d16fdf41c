"""Ways of training: trained from several seeds, and chosen on validation images."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from torch import nn

from retemper.data import Data
from retemper.evaluation.processes import Processes
from retemper.objectives import CrossEntropy, Objective
from retemper.studies.attacking import tried
from retemper.threats import Threat
from retemper.training import Training, fresh, retrain
from retemper.training.budget import least_clean

WITHIN = 0.01  # of the best clean accuracy on validation data: what a way may give up for robust accuracy


@dataclass(frozen=True)
class Way:
    """One way to train a network.

    Attributes:
        name: in tables and folders.
        objective: what is minimised.
        model: a network by name.
        activation: of the network.
        settings: of `retemper.training.Settings`, without epochs and seed.
        base_epochs: of plain training before it, from fresh weights, as `settings` say; 0 begins with these.
        epochs: of the training itself; None for as many as the others have.
        smooth: swap rectifiers for SiLU between the two.
    """

    name: str
    objective: Objective
    model: str
    activation: str = "relu"
    settings: Mapping[str, Any] = field(default_factory=dict)
    base_epochs: int = 0
    epochs: int | None = None
    smooth: bool = False

    def train(self, data: Data, folder: Path, *, epochs: int, seed: int, progress: bool) -> tuple[nn.Module, Training]:
        """The trained network and how it went, read back where it has been trained before.

        Ways of the same base share it, in a folder beside `folder`; where two processes want it at once, one waits for
        the other. `epochs` are those of a way without its own.
        """
        model = fresh(self.model, data, activation=self.activation, seed=seed)

        def run(objective: Objective, out: Path, epochs: int, *, smooth: bool = False) -> Training:
            label = f"{out.name}: training"
            return retrain(
                model,
                data,
                objective,
                smooth=smooth,
                out=out,
                epochs=epochs,
                seed=seed,
                progress=progress,
                label=label,
                **self.settings,
            )

        if self.base_epochs:
            base = folder.parent / f"base-{self.model}-{self.activation}-{self.base_epochs}-{seed}"
            with _alone(base):
                run(CrossEntropy(), base, self.base_epochs)
        training = run(self.objective, folder, epochs if self.epochs is None else self.epochs, smooth=self.smooth)
        return model.eval(), training


def _alone(folder: Path) -> AbstractContextManager[object]:
    """Keep parts of a study that other processes run out of a folder; those of one launch write to it together."""
    if not Processes().is_main:
        return nullcontext()
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.with_name(f"{folder.name}.lock"))


@dataclass(frozen=True)
class Trial:
    """What a way reached on validation images, shares in [0, 1]; robust is the mean over the threats."""

    way: str
    clean: float
    robust: float


def tuned(
    ways: Sequence[Way],
    data: Data,
    threats: Sequence[Threat],
    folder: Path,
    *,
    epochs: int,
    images: int,
    progress: bool,
    floor: float | None = None,
) -> tuple[Way, list[Trial]]:
    """The way of highest robust accuracy on validation images, and what all of them reached, from seed 0.

    Ways whose clean accuracy lies below `floor` are out; where no floor is given or no way reaches it, it is the best
    clean accuracy less `WITHIN`: a network that answers nothing rightly has nothing to lose. The attacks are those of
    the measurement with fewer steps.
    """
    trials = []
    for way in ways:
        place = folder / f"{way.name}-0"
        model, _ = way.train(data, place, epochs=epochs, seed=0, progress=progress)
        validation = data.validation.take(images)
        label = f"{way.name}, validation"
        found = tried(model, validation, threats, place / "validation", progress=progress, label=label)
        robust = float(np.mean([each.accuracy for each in found.robustness]))
        trials.append(Trial(way.name, float(found.clean.mean()), robust))
    cleanest = max(trial.clean for trial in trials)
    if floor is None or cleanest < floor:
        floor = least_clean(cleanest, WITHIN)
    best = max((trial for trial in trials if trial.clean >= floor), key=lambda trial: trial.robust)
    return next(way for way in ways if way.name == best.way), trials
