"""The attacks of the studies: some steps on validation images, to choose by, and many on test images, to report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from torch import nn

from retemper.data import Split
from retemper.evaluation import Evaluation, evaluate, plan
from retemper.threats import Threat

ATTACKS = ("apgd-ce", "apgd-margin")
TRIED_STEPS = 20
STEPS, RESTARTS = 100, 2


@dataclass(frozen=True)
class Attacked:
    """What is known of some images of a network.

    Attributes:
        clean: whether each is answered rightly.
        distances: the smallest at which each was broken; 0 where it is answered wrongly, infinite where
            nothing broke it.
    """

    clean: Bool[np.ndarray, " images"]
    distances: Float[np.ndarray, " images"]

    def broken(self, radius: float) -> Bool[np.ndarray, " right"]:
        """Of the images answered rightly, which have an adversarial example within the radius."""
        return self.distances[self.clean] <= radius


def tried(
    model: nn.Module, split: Split, threats: Sequence[Threat], folder: Path, *, progress: bool, label: str
) -> Evaluation:
    """Attack images of one network as a choice wants it, kept in a folder."""
    return _evaluated(model, split, threats, folder, progress, label, steps=TRIED_STEPS, alarms=False)


def measured(
    model: nn.Module, split: Split, threats: Sequence[Threat], folder: Path, *, progress: bool, label: str
) -> Evaluation:
    """Attack images of one network as a table wants it, with alarms, kept in a folder."""
    return _evaluated(model, split, threats, folder, progress, label, steps=STEPS, restarts=RESTARTS)


def attacked(
    model: nn.Module, split: Split, threats: Sequence[Threat], folder: Path, *, progress: bool, label: str
) -> Attacked:
    """Attack images of one network at threats of one norm, a minimum-norm attack before them, kept in a folder."""
    found = _evaluated(
        model, split, threats, folder, progress, label, steps=STEPS, restarts=RESTARTS, curve=True, alarms=False
    )
    return Attacked(found.clean, found.curves[0].distances)


def _evaluated(
    model: nn.Module,
    split: Split,
    threats: Sequence[Threat],
    folder: Path,
    progress: bool,
    label: str,
    *,
    steps: int,
    restarts: int = 1,
    curve: bool = False,
    alarms: bool = True,
) -> Evaluation:
    return evaluate(
        model,
        split,
        threats,
        attacks=plan(ATTACKS, steps=steps, restarts=restarts),
        curve=curve,
        alarms=alarms,
        out=folder,
        progress=progress,
        label=label,
    )
