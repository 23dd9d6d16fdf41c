"""Gradients out of forward passes alone."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.evaluation.randomised import fingerprints, seeded
from retemper.models import logits
from retemper.noise import Noise
from retemper.threats import Threat, per_image

TOGETHER = 1024  # inputs in one forward pass


class Estimated(nn.Module):
    """A model whose gradients are estimated by differences along random directions, half a radius each way.

    What is estimated is the gradient of the model smoothed over that length, so that steps and jumps have one
    too: antithetic evolution strategies (Ilyas et al. 2018, 1804.08598), which break k-winners-take-all (Tramèr
    et al. 2020, 2002.08347). A pair of points meets the same draw of a randomised model. Directions are keyed
    by the input itself, so that every step of an attack has new ones and no image hangs on its neighbours.

    Args:
        model: any that runs forward.
        threat: gives the length of the directions, and the bounds that no question leaves.
        pairs: directions an estimate, each two forward passes.
        seed: of the directions.
    """

    def __init__(self, model: nn.Module, threat: Threat, pairs: int = 32, seed: int = 0) -> None:
        super().__init__()
        self.model, self.threat, self.pairs, self.seed = model, threat, pairs, seed

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
        """The model's logits; going backward from them costs two forward passes a direction."""
        outputs: Tensor = _Estimate.apply(inputs, self)  # type: ignore[no-untyped-call]  # torch's stub has no types here
        return outputs

    def values(self, inputs: Float[Tensor, "images *shape"], draw: int) -> Float[Tensor, "images classes"]:
        """The logits, of one draw where the model is random."""
        with torch.no_grad(), seeded(draw, inputs.device):
            return logits(self.model, inputs)

    def gradient(
        self, inputs: Float[Tensor, "images *shape"], weights: Float[Tensor, "images classes"]
    ) -> Float[Tensor, "images *shape"]:
        """The estimated gradient of the weighted sum of logits."""
        shape = inputs.shape[1:]
        # Signs shared by all images, each image's flipped by signs of its own: new ones for one draw an image.
        shared = _signs(Noise.keyed(torch.arange(self.pairs, device=inputs.device), self.seed, "directions"), inputs)
        keys = fingerprints(inputs)
        own = _signs(Noise.keyed(keys, self.seed, "flips"), inputs)
        total = torch.zeros_like(inputs)
        for number, some in enumerate(shared.split(max(1, TOGETHER // (2 * len(inputs))))):
            draw = int(keys.sum()) + number
            steps = self.threat.steepest((some[:, None] * own).flatten(0, 1)) * self.threat.radius / 2
            many, weigh = inputs.repeat(len(some), *[1] * len(shape)), weights.repeat(len(some), 1)
            up, down = ((many + sign * steps).clamp(*self.threat.bounds) for sign in (1, -1))
            slopes = ((self.values(up, draw) - self.values(down, draw)) * weigh).sum(1) / 2
            # Over directions of one length, the mean of d d^T is the identity times that length squared over d's size.
            slopes = slopes * steps[0].numel() / steps.flatten(1).square().sum(1)
            total += (per_image(slopes, steps) * steps).view(len(some), *inputs.shape).sum(0)
        return total / self.pairs


class _Estimate(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, inputs: Tensor, view: Estimated) -> Tensor:
        context.save_for_backward(inputs)
        context.view = view
        return view.values(inputs.detach(), int(fingerprints(inputs).sum()))

    @staticmethod
    def backward(context: Any, weights: Tensor) -> tuple[Tensor, None]:
        (inputs,) = context.saved_tensors
        return context.view.gradient(inputs.detach(), weights), None


def _signs(noise: Noise, like: Tensor) -> Tensor:
    """Plus or minus one for every coordinate."""
    return 1 - 2 * noise.integers(2, *like.shape[1:]).to(like.dtype)
