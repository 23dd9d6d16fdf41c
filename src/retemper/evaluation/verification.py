"""Rechecking a refutation: no attack, only the inputs that it lists."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from retemper.data import Split
from retemper.evaluation.bundle import Bundle
from retemper.evaluation.claim import Claim
from retemper.evaluation.intervals import Interval, wilson
from retemper.evaluation.randomised import DRAWS, is_random, majority, seeded
from retemper.models import predict
from retemper.models.float32 import exact_float32
from retemper.models.hashing import weights_hash
from retemper.models.inference import device_of
from retemper.threats import per_image

_BATCH = 256


@dataclass(frozen=True)
class Verification:
    """What was found when a bundle was held against a model.

    Attributes:
        claim: what the bundle speaks against.
        images: how many images the bundle says were evaluated.
        listed: how many of them it says fell.
        inside: how many of those lie within the threat of their originals.
        wrong: how many of those the model answers wrongly.
        same_bounds: whether the threat's bounds are those that the verifier wants.
        same_weights: whether the model's weights are those that were attacked.
        well_formed: whether every image is listed once and is one of those evaluated, and the labels are
            classes of the model.
        same_data: whether originals and labels are those of the data; none where no data was given.
        draws: how often the model was asked about each input: once, or for a majority if its answers are random.
    """

    claim: Claim
    images: int
    listed: int
    inside: int
    wrong: int
    same_bounds: bool
    same_weights: bool
    well_formed: bool
    same_data: bool | None
    draws: int

    @property
    def accuracy(self) -> float:
        """The share of images not shown to fall: an upper bound of the robust accuracy on these images."""
        return (self.images - self.wrong) / self.images

    @property
    def interval(self) -> Interval:
        """Its Wilson interval at 95 %."""
        return wilson(self.images - self.wrong, self.images)

    @property
    def belongs(self) -> bool:
        """Whether the bundle is one of this model, within these bounds, and, if given, of this data."""
        return self.same_bounds and self.same_weights and self.well_formed and self.same_data is not False

    @property
    def stands(self) -> bool:
        """Whether the inputs that were rechecked still refute the claim for this model (and this data)."""
        return self.belongs and self.wrong > 0 and self.interval.high < self.claim.accuracy

    def as_json(self) -> dict[str, Any]:
        """Everything above."""
        return {
            **vars(self),
            "claim": str(self.claim),
            "accuracy": self.accuracy,
            "interval": self.interval,
            "stands": self.stands,
        }


@exact_float32()
def verify(
    bundle: Bundle, model: nn.Module, split: Split | None = None, *, bounds: tuple[float, float] = (0.0, 1.0)
) -> Verification:
    """Hold a bundle against a model: every input within the threat, every answer wrong, the same weights.

    An input that fails is not counted; the rest may still refute the claim. A bundle alone cannot tell that
    its originals are real images with the right labels: give the data for that. A randomised model answers by
    the majority of as many draws as an evaluation takes, whatever the bundle says, which near a tie may fall otherwise.

    Args:
        bundle: from `read_bundle`.
        model: on any device; its modes are as they were afterwards.
        split: the data that was attacked.
        bounds: of the model's inputs. They are the verifier's: a bundle that brings wider ones proves nothing.

    Raises:
        ModelError: the model does not run on the inputs, or returns NaN.
    """
    inside = bundle.claim.threat.allows(bundle.adversarial, bundle.originals)
    # The model is asked about nothing outside the threat, where even NaN would be no fault of its own.
    asked = torch.where(per_image(inside, bundle.originals), bundle.adversarial, bundle.originals)
    # Whether it is random is for the verifier to find out: a single draw may be a lucky one.
    draws = DRAWS if is_random(model, asked[:_BATCH].to(device_of(model))) else 1
    classes, answers = _answers(bundle, model, asked, draws)
    wrong = inside & (answers != bundle.labels)
    return Verification(
        claim=bundle.claim,
        images=bundle.images,
        listed=len(bundle.indices),
        inside=int(inside.sum()),
        wrong=int(wrong.sum()),
        same_bounds=bundle.claim.threat.bounds == tuple(bounds),
        same_weights=weights_hash(model) == bundle.weights,
        well_formed=_distinct_below(bundle.images, bundle.indices)
        and classes == bundle.classes
        and bool((bundle.labels >= 0).all() & (bundle.labels < classes).all()),
        same_data=None if split is None else _same_data(bundle, split),
        draws=draws,
    )


def _answers(bundle: Bundle, model: nn.Module, inputs: Tensor, draws: int) -> tuple[int, Int[Tensor, " images"]]:
    """How many classes the model tells apart, and which one it answers for each input."""
    batches = list(zip(inputs.split(_BATCH), bundle.labels.split(_BATCH), strict=True))
    device = device_of(model)
    if draws == 1:
        outputs, _ = predict(model, batches)
        return outputs.shape[1], outputs.argmax(1).cpu()
    with seeded(bundle.seed, device):
        outputs, _ = predict(model, batches[:1])
    answers = [majority(model, part.to(device), draws, bundle.seed) for part, _ in batches]
    return outputs.shape[1], torch.cat(answers).cpu()


def _distinct_below(images: int, indices: Int[Tensor, " fallen"]) -> bool:
    return bool((indices >= 0).all() & (indices < images).all()) and len(indices.unique()) == len(indices)


def _same_data(bundle: Bundle, split: Split) -> bool:
    if not _distinct_below(min(bundle.images, len(split)), bundle.indices) or bundle.images > len(split):
        return False
    originals, labels = split.batch(bundle.indices)
    return torch.equal(originals.to(bundle.originals.dtype), bundle.originals) and torch.equal(labels, bundle.labels)
