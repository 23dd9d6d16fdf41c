"""What an attack has found so far."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Found:
    """For every image an adversarial input, or until there is one the point of highest loss."""

    def __init__(self, inputs: Float[Tensor, "images *shape"]) -> None:
        self.points = inputs.clone()
        self.losses = inputs.new_full((len(inputs),), -float("inf"))
        self.fallen = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)

    def standing(self) -> Int[Tensor, " standing"]:
        """The places of the images without an adversarial input."""
        return (~self.fallen).nonzero()[:, 0]

    def record(
        self,
        places: Int[Tensor, " tried"],
        points: Float[Tensor, "tried *shape"],
        losses: Float[Tensor, " tried"],
        fallen: Bool[Tensor, " tried"],
    ) -> Bool[Tensor, " tried"]:
        """Keep the new points that are adversarial or higher than before, and tell which images still stand.

        Args:
            places: of images that stood until now.
            points: one for each of them.
            losses: at the points.
            fallen: whether the point is adversarial.
        """
        losses = losses.to(self.losses.dtype)  # of a model whose logits have another type than its inputs
        better = (fallen | (losses > self.losses[places])).nonzero()[:, 0]  # an accelerator waits here, and no more
        self.points[places[better]] = points[better]
        self.losses[places[better]] = losses[better]
        self.fallen[places] = fallen
        return ~fallen
