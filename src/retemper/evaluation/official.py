"""The official AutoAttack at arm's length: fed as it wants, listened to, and kept from what is global."""

import contextlib
import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.evaluation.passes import Passes
from retemper.models import evaluation_mode, logits
from retemper.threats import Threat

TARGETED_FROM = 4  # the targeted DLR loss needs that many classes
_SQUARE_L2_FROM = 5  # Square's first tiles under L2 are a fifth of the image
_CUSTOM = ("apgd-ce", "fab", "square")


@dataclass(frozen=True)
class Part:
    """What one of its attacks did: images that it faced and broke, and its work in images."""

    name: str
    settings: str
    faced: int = 0
    broken: int = 0
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0


class Run:
    """One run of the official code, set up for a model.

    Args:
        package: pyautoattack.
        model: asked for its logits, whatever it returns.
        passes: what is counted of it.
        inputs: some of those to come, for their shape, type and device.
        threat: Linf or L2 in [0, 1].
        version: `standard` or `custom`.
        classes: how many the model tells apart.
        seed: of its random numbers.
    """

    def __init__(
        self,
        package: ModuleType,
        model: nn.Module,
        passes: Passes,
        inputs: Float[Tensor, "images *shape"],
        threat: Threat,
        version: str,
        classes: int,
        seed: int,
    ) -> None:
        self._code = package.AutoAttack(
            _Asked(model, inputs),
            norm={"linf": "Linf", "l2": "L2"}[threat.norm],
            eps=threat.radius,
            version=version,
            attacks=list(_CUSTOM) if version == "custom" else None,
            device=inputs.device,
            seed=seed,
        )
        self._code.apgd.n_restarts = self._code.fab.n_restarts = 1  # `custom` would take five, `standard` takes one
        self._code.apgd_targeted.n_target_classes = self._code.fab.n_target_classes = min(9, classes - 1)
        self._journal = _Journal(passes)
        # Its own logger reaches whatever the caller has set up; this one keeps everything here.
        logger = logging.Logger("auto-attack", logging.DEBUG)
        logger.addHandler(self._journal)
        self._code.logger = self._code.apgd.logger = self._code.apgd_targeted.logger = logger
        self.left_out: dict[str, str] = {}
        if threat.norm == "l2" and min(_as_images(inputs).shape[2:]) < _SQUARE_L2_FROM:
            self._code.attacks_to_run.remove("square")
            self.left_out["square"] = f"under L2 it needs images of {_SQUARE_L2_FROM} rows and columns or more"

    def __call__(
        self, inputs: Float[Tensor, "images *shape"], labels: Int[Tensor, " images"], batch_size: int
    ) -> Bool[Tensor, " images"]:
        """Attack, and tell for every image whether it stands."""
        _, answers = self._code.run_standard_evaluation(_as_images(inputs).float(), labels, batch_size=batch_size)
        return answers == labels

    def parts(self) -> tuple[Part, ...]:
        """What each attack did, in the order in which they ran, but for those that had no image to face."""
        return tuple(replace(part, settings=self._settings(part.name)) for part in self._journal.parts if part.faced)

    def warnings(self) -> tuple[str, ...]:
        """What the official code said that might be wrong with the model, each once."""
        return tuple(self._journal.warnings)

    def _settings(self, name: str) -> str:
        if name == "square":
            return f"{self._code.square.n_queries} queries"
        attack = {"apgd-ce": self._code.apgd, "apgd-t": self._code.apgd_targeted}.get(name, self._code.fab)
        times = f"{attack.n_target_classes} targets" if name.endswith("-t") else f"{attack.n_restarts} restart"
        return f"{attack.n_iter} steps, {times}"


class _Asked(nn.Module):
    """The model as the official code asks it: float32 images in, float32 logits out."""

    def __init__(self, model: nn.Module, inputs: Float[Tensor, "images *shape"]) -> None:
        super().__init__()
        self.model, self.shape, self.dtype = model, inputs.shape[1:], dtype_of(model)
        self.training = model.training

    def forward(self, images: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        return logits(self.model, images.to(self.dtype).reshape(-1, *self.shape)).float()


class _Journal(logging.Handler):
    """Reads in the official code's log, its only word on progress, which attack runs and how many images it broke."""

    def __init__(self, passes: Passes) -> None:
        super().__init__()
        self.passes = passes
        self.parts: list[Part] = []
        self.warnings: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            self.warnings[message] = None
        elif match := re.fullmatch(r"running (\S+)", message):
            self.parts.append(Part(match[1], ""))
            self.start = self.passes.forwards, self.passes.backwards, time.perf_counter()
        elif match := re.search(r"- (\d+) out of (\d+) successfully perturbed", message):  # once a batch
            part = self.parts[-1]
            self.parts[-1] = replace(
                part,
                broken=part.broken + int(match[1]),
                faced=part.faced + int(match[2]),
                forwards=self.passes.forwards - self.start[0],
                backwards=self.passes.backwards - self.start[1],
                seconds=time.perf_counter() - self.start[2],
            )


@contextlib.contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Keep from the caller what the official code sets: global seeds, a trace function, gradients of weights."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    trace = sys.gettrace()
    with (
        torch.random.fork_rng(devices=range(torch.cuda.device_count())),
        evaluation_mode(model),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        try:
            for weight in trained:
                weight.requires_grad_(False)
            yield
        finally:
            sys.settrace(trace)
            for weight in trained:
                weight.requires_grad_(True)


def dtype_of(model: nn.Module) -> torch.dtype:
    """In which type the model is asked."""
    return torch.float64 if any(weight.dtype == torch.float64 for weight in model.parameters()) else torch.float32


def _as_images(inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images channels height width"]:
    """Vectors, and whatever else is no image, as images of one row."""
    return inputs if inputs.dim() == 4 else inputs.reshape(len(inputs), 1, 1, -1)
