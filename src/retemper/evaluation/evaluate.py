"""The evaluation: every image faces the attacks in turn until one succeeds, at every radius."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from retemper.attacks.ascent import at_least_one
from retemper.data import Split
from retemper.errors import ModelError, SettingError
from retemper.evaluation.attack_plan import Attack, plan
from retemper.evaluation.intervals import Interval, wilson
from retemper.models import predict
from retemper.models.inference import device_of
from retemper.progress import progress_line
from retemper.threats import Threat, per_image

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
    """

    threat: Threat
    standing: Standing
    broken_by: dict[str, int]
    examples: tuple[Example, ...] = field(default=(), repr=False)

    @property
    def accuracy(self) -> float:
        """The share of images that still stand, in [0, 1]."""
        return float(self.standing.mean())

    @property
    def interval(self) -> Interval:
        """Its Wilson interval at 95 %."""
        return wilson(int(self.standing.sum()), len(self.standing))


@dataclass(frozen=True)
class Evaluation:
    """Clean accuracy, and robustness at each threat in the order in which the threats were given."""

    clean: Standing
    robustness: tuple[Robustness, ...]
    attacks: tuple[str, ...]
    seed: int

    @property
    def clean_accuracy(self) -> float:
        """The share of images that are answered rightly as they are, in [0, 1]."""
        return float(self.clean.mean())

    @property
    def clean_interval(self) -> Interval:
        """Its Wilson interval at 95 %."""
        return wilson(int(self.clean.sum()), len(self.clean))

    def as_json(self) -> dict[str, Any]:
        """Every figure, and for every image, by a 1 or a 0, whether it stands."""
        return {
            "clean": {"accuracy": self.clean_accuracy, "interval": self.clean_interval, "standing": _bits(self.clean)},
            "robustness": [
                {
                    "threat": str(found.threat),
                    "bounds": found.threat.bounds,
                    "accuracy": found.accuracy,
                    "interval": found.interval,
                    "broken_by": found.broken_by,
                    "standing": _bits(found.standing),
                }
                for found in self.robustness
            ],
            "attacks": self.attacks,
            "seed": self.seed,
        }


def evaluate(
    model: nn.Module,
    split: Split,
    threats: Sequence[Threat],
    *,
    attacks: Sequence[Attack] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    keep: int = 0,
    progress: bool = True,
    label: str = "attacking",
) -> Evaluation:
    """Attack every image of a split at every threat and count what still stands.

    Only images that still stand go on to the next attack; an image that falls at some radius counts as
    fallen at every larger radius of the same norm, so that robust accuracy never rises with the radius.

    Args:
        model: in float32 or float64, on any device; its modes are as they were afterwards.
        split: take its first images with `split.take(1000)`.
        threats: norms and radii.
        attacks: from `plan`; by default APGD with cross-entropy and DLR, 100 steps.
        batch_size: how many images an attack takes at once.
        seed: of the attacks' random starts.
        keep: how many adversarial examples to return with each threat, the first by index.
        progress: show one line that says where it is.
        label: what that line is called.

    Raises:
        SettingError: no threat, no attack, or inputs outside a threat's bounds.
        ModelError: the model does not run on the inputs, has too few classes, returns NaN, or is in half precision.
    """
    if not threats:
        raise SettingError("Expected at least one threat, such as Linf(8 / 255), but got none.")
    if attacks is not None and not attacks:
        raise SettingError("Expected at least one attack, such as from `plan`, but got none.")
    at_least_one(batch_size=batch_size)
    split = split.to(device_of(model))
    inputs, labels = split.batch(slice(None))
    inputs = inputs.to(_dtype(model))
    for threat in threats:
        threat.check_inputs(inputs)
    outputs, _ = predict(model, _chunks(inputs, labels, batch_size))
    _check_labels(model, outputs, labels)
    chosen = plan(classes=outputs.shape[1]) if attacks is None else list(attacks)
    right = outputs.argmax(1) == labels

    found: dict[Threat, Robustness] = {}
    ordered = sorted(set(threats), key=lambda threat: (threat.norm, threat.bounds, threat.radius))
    with progress_line(label, len(ordered) * len(chosen) * len(split), shown=progress) as advance:
        search = _Search(model, inputs, labels, chosen, batch_size, seed, keep, advance)
        for _, group in groupby(ordered, key=lambda threat: (threat.norm, threat.bounds)):
            standing, before = right.clone(), None
            for threat in group:
                before = found[threat] = search.at(threat, standing, before)
    return Evaluation(
        clean=right.cpu().numpy(),
        robustness=tuple(found[threat] for threat in threats),
        attacks=tuple(str(attack) for attack in chosen),
        seed=seed,
    )


class _Search:
    """The attacks in turn on the images that still stand, from small radii to large ones."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels: Tensor,
        attacks: Sequence[Attack],
        batch_size: int,
        seed: int,
        keep: int,
        advance: Callable[[int], None],
    ) -> None:
        self.model, self.inputs, self.labels, self.attacks = model, inputs, labels, attacks
        self.batch_size, self.seed, self.keep, self.advance = batch_size, seed, keep, advance

    def at(self, threat: Threat, standing: Tensor, before: Robustness | None) -> Robustness:
        """Attack at one threat; `standing` loses the images that fall."""
        broken_by: Counter[str] = Counter()
        examples: list[Example] = []
        if before is not None:
            examples.extend(before.examples)
            broken_by["smaller radius"] = sum(before.broken_by.values())
        for attack in self.attacks:
            generator = torch.Generator(self.inputs.device).manual_seed(self.seed)
            self.advance(int((~standing).sum()))
            for index in standing.nonzero()[:, 0].split(self.batch_size):
                if len(index) == 0:  # `split` cuts nothing into one empty piece
                    continue
                candidates = attack.run(self.model, self.inputs[index], self.labels[index], threat, generator)
                fallen, predicted = self._judge(candidates, index, threat)
                standing[index[fallen]] = False
                broken_by[attack.name] += int(fallen.sum())
                examples += self._examples(index[fallen], candidates[fallen], predicted[fallen])
                self.advance(len(index))
        kept = tuple(sorted(examples, key=lambda example: example.index)[: self.keep])
        return Robustness(threat, standing.cpu().numpy().copy(), dict(broken_by), kept)

    def _judge(self, candidates: Tensor, index: Tensor, threat: Threat) -> tuple[Tensor, Tensor]:
        """Which candidates are adversarial: inside the threat, and answered wrongly when asked again."""
        inside = threat.allows(candidates, self.inputs[index])
        # The model is asked about nothing outside the threat, where even NaN would be no fault of its own.
        asked = torch.where(per_image(inside, candidates), candidates, self.inputs[index])
        outputs, _ = predict(self.model, [(asked, self.labels[index])])
        predicted = outputs.argmax(1)
        return inside & (predicted != self.labels[index]), predicted

    def _examples(self, index: Tensor, adversarial: Tensor, predicted: Tensor) -> list[Example]:
        return [
            Example(
                index=int(place),
                label=int(self.labels[place]),
                predicted=int(answer),
                original=self.inputs[place].cpu(),
                adversarial=candidate.cpu(),
            )
            for place, candidate, answer in zip(
                index[: self.keep], adversarial[: self.keep], predicted[: self.keep], strict=True
            )
        ]


def _chunks(inputs: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(inputs.split(size), labels.split(size), strict=True)


def _check_labels(model: nn.Module, outputs: Tensor, labels: Tensor) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= outputs.shape[1]:
        raise ModelError(
            f"{type(model).__name__} returns {outputs.shape[1]} logits, but the labels reach from {low} to {high}; "
            "evaluate it on the classes that it was trained for."
        )


def _dtype(model: nn.Module) -> torch.dtype:
    """float64 for a model in float64, else float32.

    Raises:
        ModelError: the model is in half precision, in which attacks cannot be trusted.
    """
    dtypes = {tensor.dtype for tensor in model.parameters() if tensor.dtype.is_floating_point}
    if dtypes & {torch.bfloat16, torch.float16}:
        raise ModelError(
            f"{type(model).__name__} has weights in half precision, in which rounding hides gradients; evaluate "
            "model.float()."
        )
    return torch.float64 if torch.float64 in dtypes else torch.float32


def _bits(standing: Standing) -> str:
    return "".join("1" if stands else "0" for stands in standing)
