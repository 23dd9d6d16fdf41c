"""The closest adversarial input of every image so far, for attacks that minimise the distance."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.attacks.ascent import look
from retemper.attacks.losses import margin
from retemper.threats import Threat, per_image


class Nearest:
    """For every image its closest adversarial input, or until there is one the input itself.

    Args:
        inputs: the originals.
        threat: measures the distances, in float64.
        within: an image is done with its first adversarial input inside the threat, not only where the
            original is itself adversarial and nothing can be closer.
    """

    def __init__(self, inputs: Float[Tensor, "images *shape"], threat: Threat, *, within: bool) -> None:
        self.inputs, self.threat, self.within = inputs, threat, within
        self.points = inputs.clone()
        self.distances = torch.full((len(inputs),), torch.inf, dtype=torch.float64, device=inputs.device)
        self.done = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)

    def standing(self) -> Int[Tensor, " standing"]:
        """The places of the images that are not done."""
        return (~self.done).nonzero()[:, 0]

    def record(
        self,
        places: Int[Tensor, " tried"],
        points: Float[Tensor, "tried *shape"],
        fallen: Bool[Tensor, " tried"],
    ) -> Bool[Tensor, " tried"]:
        """Keep the adversarial points that are closer than those before, and tell which images are not done.

        Args:
            places: of the images tried, each once.
            points: one for each of them, inside the bounds.
            fallen: whether the point is adversarial.
        """
        originals = self.inputs[places]
        distances = self.threat.distance(points, originals)
        closer = (fallen & (distances < self.distances[places])).nonzero()[:, 0]
        self.points[places[closer]] = points[closer]
        self.distances[places[closer]] = distances[closer]
        last = distances == 0
        if self.within:
            last = last | self.threat.allows(points, originals)
        self.done[places] |= fallen & last
        return ~self.done[places]


def bisect(model: nn.Module, nearest: Nearest, labels: Int[Tensor, " images"], steps: int = 10) -> None:
    """Bring what was found closer to its input, along the line between the two.

    Each step takes a forward pass and halves the stretch in which the boundary lies.

    Args:
        model: called as it is.
        nearest: images without an adversarial input, and those that are done, stay as they are.
        labels: one for each image of `nearest`.
        steps: ten leave 0.1 % of the distance.
    """
    places = (nearest.distances.isfinite() & ~nearest.done).nonzero()[:, 0]
    originals, ends = nearest.inputs[places], nearest.points[places]
    low = originals.new_zeros(len(places))
    high = torch.ones_like(low)
    for _ in range(steps):
        if len(places) == 0:
            return
        middle = (low + high) / 2
        points = (originals + per_image(middle, ends) * (ends - originals)).clamp(*nearest.threat.bounds)
        _, fallen = look(model, points, labels[places], margin)
        nearest.record(places, points, fallen)
        low, high = torch.where(fallen, low, middle), torch.where(fallen, middle, high)
