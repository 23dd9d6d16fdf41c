"""What the alarms are sounded on: a model, the gradients that are followed, and a few images."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.evaluation.randomised import is_random, majority
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import Threat


@dataclass(frozen=True)
class Subject:
    """A model under probe, with a batch of images.

    Attributes:
        model: what every success is judged on.
        guide: the view whose gradients are followed; the model itself at first.
        inputs: of the batch, within the threat's bounds.
        labels: one an image.
        threat: norm, radius and bounds.
        noise: keyed by image.
        random: whether the model is randomised, so that its answer is that of the majority.
    """

    model: nn.Module
    guide: nn.Module
    inputs: Float[Tensor, "images *shape"]
    labels: Int[Tensor, " images"]
    threat: Threat
    noise: Noise
    random: bool

    @classmethod
    def of(
        cls,
        model: nn.Module,
        guide: nn.Module,
        inputs: Float[Tensor, "images *shape"],
        labels: Int[Tensor, " images"],
        threat: Threat,
        noise: Noise,
    ) -> Self:
        """A subject whose randomness is measured on its first images."""
        return cls(model, guide, inputs.detach(), labels, threat, noise, is_random(model, inputs[:64]))

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places: Int[Tensor, " chosen"]) -> Self:
        """The same with only these images."""
        return replace(self, inputs=self.inputs[places], labels=self.labels[places], noise=self.noise[places])

    def under(self, threat: Threat) -> Self:
        """The same with another threat."""
        return replace(self, threat=threat)

    def along(self, guide: nn.Module) -> Self:
        """The same along other gradients."""
        return replace(self, guide=guide)

    def wrong(self, candidates: Float[Tensor, "images *shape"]) -> Bool[Tensor, " images"]:
        """Which candidates the model answers wrongly."""
        candidates = candidates.to(self.inputs.dtype)
        if self.random:
            return majority(self.model, candidates) != self.labels
        with torch.no_grad():
            return logits(self.model, candidates).argmax(1) != self.labels


def spread(images: Bool[Tensor, " images"], most: int) -> Int[Tensor, " chosen"]:
    """The places of at most so many of the images that are marked, evenly spread over them."""
    places = images.nonzero()[:, 0]
    step = max(1.0, len(places) / most)
    return places[(torch.arange(min(len(places), most), device=places.device) * step).long()]
