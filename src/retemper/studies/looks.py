"""Ways to look at a network's robustness: weak ones, as early papers used them, and those that hold."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import ascend, check_batch, surroundings
from retemper.data import Split
from retemper.evaluation import Attack, evaluate
from retemper.evaluation.reference import autoattack
from retemper.files import read_json, write_json
from retemper.noise import Noise
from retemper.threats import Threat


@dataclass(frozen=True)
class Seen:
    """What one way of looking left standing.

    Attributes:
        look: its name.
        standing: for every image.
        ringing: alarms that were sounded and that nothing answered; empty where none were sounded.
    """

    look: str
    standing: Bool[np.ndarray, " images"]
    ringing: tuple[str, ...] = ()


def textbook(
    model: nn.Module,
    inputs: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    threat: Threat,
    noise: Noise | None = None,
    *,
    steps: int,
) -> Float[Tensor, "images *shape"]:
    """Signed or normalised steps along the cross-entropy of whatever the model returns, and the last point alone.

    One step is FGSM from the input itself; more are PGD from a random start. Probabilities in place of logits flatten
    this loss, and confident answers round its gradient to zero: the flaws are the point.

    Raises:
        SettingError: inputs outside the bounds, or labels that are no classes.
        ModelError: the model does not run on the inputs, or cannot be differentiated by them.
    """
    check_batch(inputs, labels, threat)
    inputs = inputs.detach()
    points = inputs if steps == 1 else threat.random_start(inputs, noise or Noise.for_batch(inputs))
    length = threat.radius * min(1.0, 2.5 / steps)
    with surroundings(model):
        for _ in range(steps):
            rise = ascend(model, points, labels, _cross_entropy)
            points = threat.project(points + length * threat.steepest(rise.gradient), inputs)
    return points


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs, labels, reduction="none")


def probabilities(model: nn.Module) -> nn.Module:
    """The model with a softmax behind it, as classifiers were often attacked by mistake."""
    return nn.Sequential(model, nn.Softmax(1))


FLAWED: dict[str, tuple[int, Callable[[nn.Module], nn.Module]]] = {
    "FGSM": (1, lambda model: model),
    "PGD, 10 steps": (10, lambda model: model),
    "FGSM through softmax": (1, probabilities),
    "PGD, 10 steps, through softmax": (10, probabilities),
}


def flawed(model: nn.Module, split: Split, threat: Threat) -> list[Seen]:
    """What each of the `FLAWED` looks leaves standing."""
    seen = []
    for name, (steps, view) in FLAWED.items():
        attack = Attack("textbook", f"{steps} steps", partial(textbook, steps=steps))
        found = evaluate(view(model), split, [threat], attacks=[attack], alarms=False, progress=False)
        seen.append(Seen(name, found.robustness[0].standing))
    return seen


def standard(model: nn.Module, split: Split, threat: Threat, out: Path, *, progress: bool, label: str) -> Seen:
    """What the budget "standard" leaves standing, its alarms sounded; kept in a folder."""
    found = evaluate(model, split, [threat], out=out / f"test-{_named(threat)}", progress=progress, label=label)
    return Seen("standard", found.robustness[0].standing, found.robustness[0].ringing)


def official(model: nn.Module, split: Split, threat: Threat, out: Path) -> list[Seen]:
    """What the official AutoAttack leaves standing, through logits and through softmax; kept in a folder.

    Raises:
        SettingError: the package is not installed.
    """
    seen = []
    for name, view in (("AutoAttack", model), ("AutoAttack through softmax", probabilities(model))):
        written = out / f"{name.replace(' ', '-').lower()}-{_named(threat)}.json"
        if not written.is_file():
            write_json(written, {"standing": autoattack(view, split, threat).standing.tolist()})
        seen.append(Seen(name, np.array(read_json(written)["standing"], dtype=bool)))
    return seen


def _named(threat: Threat) -> str:
    return f"{threat.norm}-{threat.radius:.6g}"
