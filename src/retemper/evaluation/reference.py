"""The reference: the official AutoAttack, as pyautoattack packages it, with its work and its findings written down."""

import time
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Bool
from torch import nn

from retemper.checks import as_seed
from retemper.data import Split
from retemper.errors import ModelError, SettingError
from retemper.evaluation import official
from retemper.evaluation.intervals import Interval, wilson
from retemper.evaluation.official import Part
from retemper.evaluation.passes import counting
from retemper.models import predict
from retemper.models.float32 import exact_float32
from retemper.models.inference import device_of
from retemper.models.layout import channels_last, runs_channels_last
from retemper.threats import Threat


@dataclass(frozen=True)
class Reference:
    """What the official AutoAttack left standing, by its own count.

    Attributes:
        threat: norm and radius; the bounds are always [0, 1].
        version: `standard` or `custom`.
        standing: for every image, whether it is answered rightly and none of the attacks broke it.
        parts: its attacks in the order in which they ran; one that had no image left to face is not there.
        left_out: attacks of that version that cannot run on these inputs, with the reason.
        warnings: what it said that might be wrong with the model.
        forwards: images that went through the model, those of its checks counted too.
        backwards: gradients that came back to the inputs, in images.
        seconds: of everything.
        batch_size: how many images it took at once; its random numbers hang on it.
        seed: of its random numbers.
        package: what was run.
    """

    threat: Threat
    version: str
    standing: Bool[np.ndarray, " images"]
    parts: tuple[Part, ...]
    left_out: dict[str, str]
    warnings: tuple[str, ...]
    forwards: int
    backwards: int
    seconds: float
    batch_size: int
    seed: int
    package: str

    @property
    def accuracy(self) -> float:
        """The share of images that still stand, in [0, 1]."""
        return float(self.standing.mean())

    @property
    def interval(self) -> Interval:
        """Its Wilson interval at 95 %."""
        return wilson(int(self.standing.sum()), len(self.standing))

    def as_json(self) -> dict[str, Any]:
        """Every figure, and for every image, by a 1 or a 0, whether it stands."""
        return {
            **vars(self),
            "threat": str(self.threat),
            "accuracy": self.accuracy,
            "interval": self.interval,
            "standing": "".join("1" if stands else "0" for stands in self.standing),
            "parts": [asdict(part) for part in self.parts],
        }


@exact_float32()
def autoattack(
    model: nn.Module,
    split: Split,
    threat: Threat,
    *,
    version: str | None = None,
    batch_size: int = 250,
    seed: int = 0,
) -> Reference:
    """Run the official AutoAttack (Croce & Hein 2020, 2003.01690) on every image of a split.

    Nothing in it is changed but the number of target classes, which it would take to be nine with any model.
    It works in float32; a model in float64 is asked in float64. Weights are channels-last where that pays, as in
    `evaluate`.

    Args:
        model: on any device; modes, gradients and global random numbers are as they were afterwards.
        split: images, or vectors, which it sees as images of one row.
        threat: Linf or L2, with bounds of [0, 1].
        version: `standard` (APGD-CE, targeted APGD-DLR, targeted FAB, Square) needs four classes; `custom`
            (APGD-CE, FAB, Square, with as many steps, restarts and queries as in `standard`) needs two. By
            default the first that can run.
        batch_size: how many images at once.
        seed: of its random numbers.

    Raises:
        SettingError: the package is missing, the bounds are others, the version does not go with the classes, or a seed
            outside [0, 2**32).
        ModelError: the model does not run, returns NaN, or cannot be differentiated by its inputs.
    """
    package = autoattack_package()
    seed = as_seed(seed)
    if threat.bounds != (0.0, 1.0):
        raise SettingError(
            f"The official AutoAttack knows inputs in [0, 1] alone, but the threat's bounds are {threat.bounds}."
        )
    device = device_of(model)
    inputs, labels = (part.to(device) for part in split.batch(slice(None)))
    threat.check_inputs(inputs)
    shown = inputs[:2].to(official.dtype_of(model), copy=True)
    outputs, _ = predict(model, [(shown, labels[:2])])
    classes = outputs.shape[1]
    chosen = version or ("standard" if classes >= official.TARGETED_FROM else "custom")
    _check_version(chosen, classes)

    started = time.perf_counter()
    wide = channels_last(model, wanted=runs_channels_last(model, shown))
    with official.undisturbed(model), wide, counting(model) as passes:
        run = official.Run(package, model, passes, inputs, threat, chosen, classes, seed)
        try:
            standing = run(inputs, labels, batch_size)
        except RuntimeError as error:
            raise ModelError(f"The official AutoAttack cannot run on {type(model).__name__}: {error}") from error
    return Reference(
        threat=threat,
        version=chosen,
        standing=standing.cpu().numpy(),
        parts=run.parts(),
        left_out=run.left_out,
        warnings=run.warnings(),
        forwards=passes.forwards,
        backwards=passes.backwards,
        seconds=time.perf_counter() - started,
        batch_size=batch_size,
        seed=seed,
        package=f"pyautoattack {installed('pyautoattack')}",
    )


def autoattack_package() -> ModuleType:
    """The package that AutoAttack comes in.

    Raises:
        SettingError: it is not installed.
    """
    try:
        import pyautoattack
    except ImportError:
        raise SettingError(
            "The official AutoAttack is not installed; install it with `pip install 'retemper[autoattack]'`."
        ) from None
    return pyautoattack


def _check_version(version: str, classes: int) -> None:
    if version not in ("standard", "custom"):
        raise SettingError(f"Expected `version` to be standard or custom, but got {version!r}.")
    if version == "standard" and classes < official.TARGETED_FROM:
        raise SettingError(
            f"AutoAttack `standard` needs {official.TARGETED_FROM} classes or more for its targeted DLR loss, but the "
            f"model has {classes}; take `custom`."
        )
