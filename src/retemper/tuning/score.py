"""Robust accuracy on validation images, quickly: what weights and epochs are chosen by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import nn

from retemper.checks import at_least_one, in_0_to_1, is_a, plain
from retemper.data import Data
from retemper.evaluation import evaluate, plan
from retemper.models import accuracy
from retemper.threats import Threat, several
from retemper.training import Stopping
from retemper.training.budget import least_clean

ATTACKS = ("apgd-ce", "apgd-margin")
STEPS = 10
BATCH = 512


@dataclass(frozen=True, repr=False)
class RobustScore:
    """How robust a model is on validation images, against a cheap attack, if it is accurate enough.

    The mean over threats of the share of images that stand under APGD with cross-entropy and margin, 10 steps each. For
    a model whose clean accuracy on all validation images lies below the floor it is that accuracy less 1: below that of
    all that keep it. A figure to choose by, not to report.

    Args:
        data: whose validation split is used.
        threats: one or several; several it is afterwards.
        floor: of clean accuracy, a share in [0, 1].
        images: validation images that are attacked.

    Raises:
        SettingError: no threat, or a number out of range.
    """

    data: Data
    threats: Threat | Sequence[Threat]
    floor: float = 0.0
    images: int = 500

    def __post_init__(self) -> None:
        is_a(Data, "retemper.load reads it", data=self.data)
        object.__setattr__(self, "threats", several(self.threats))
        at_least_one(images=self.images)

    def __call__(self, model: nn.Module) -> float:
        """Of the model as it is."""
        clean = self.clean(model)
        return float(self.withstood(model).mean()) if clean >= self.floor else clean - 1

    def __repr__(self) -> str:
        threats = ", ".join(threat.in_full for threat in several(self.threats))
        return f"robust accuracy at {threats} on {self.images} images, clean {self.floor!r} or more"

    def clean(self, model: nn.Module) -> float:
        """Accuracy on all validation images."""
        return accuracy(model, self.data.validation.batches(BATCH))

    def withstood(
        self,
        model: nn.Module,
        *,
        out: Path | None = None,
        resume: bool = True,
        progress: bool = False,
        label: str = "attacking",
    ) -> Float[np.ndarray, " images"]:
        """For each attacked image the share of threats that it withstood, kept in a folder if one is given.

        The mean is the robust accuracy, whatever the clean one.
        """
        found = evaluate(
            model,
            self.data.validation.take(self.images),
            self.threats,
            attacks=plan(ATTACKS, steps=STEPS),
            alarms=False,
            out=out,
            resume=resume,
            progress=progress,
            label=label,
        )
        return np.mean([each.standing for each in found.robustness], axis=0)


def early_stopping(
    model: nn.Module, data: Data, threats: Threat | Sequence[Threat], give_up: float = 0.01, patience: int = 1
) -> Stopping:
    """For `retemper.retrain`: end when robust accuracy on validation images no longer rises, and keep the best epoch.

    Args:
        model: as it is before; no epoch that has lost more than `give_up` of its clean accuracy is better than one that
            has not.
        data: whose validation split is used.
        threats: the mean of the robust accuracies at these is what counts.
        give_up: a share in [0, 1].
        patience: so many epochs without a better one, and the training ends.

    Raises:
        SettingError: no threat, or a number out of range.
    """
    in_0_to_1(give_up=give_up)
    give_up = plain(give_up)  # which the identity of the run tells
    score = RobustScore(data, threats)
    return stopping_by(replace(score, floor=least_clean(score.clean(model), give_up)), patience)


def stopping_by(score: RobustScore, patience: int) -> Stopping:
    """Early stopping whose identity is all that the score hangs on."""
    return Stopping(score, patience, of=repr(score))
