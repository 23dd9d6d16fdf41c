"""Robust accuracy against the radius, out of the distances at which images are known to break."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from retemper.evaluation.intervals import Interval, wilson


@dataclass(frozen=True)
class Curve:
    """An upper bound of the robust accuracy at every radius of one norm; it never rises.

    An image that was broken at some distance is broken at every larger radius, so that the bound is the share
    of images whose smallest known distance lies beyond the radius.

    Attributes:
        norm: of the distances.
        bounds: within which inputs were moved.
        distances: for every image, the smallest at which it was broken: 0 where it is answered wrongly as it
            is, infinite where nothing broke it.
        reach: the largest radius that was attacked; beyond it the curve says only what was met by chance.
        closest: whether minimum-norm attacks ran; without them it falls only at the radii that were attacked.
        points: for every image, the adversarial input at that distance, or the image itself.
    """

    norm: str
    bounds: tuple[float, float]
    distances: Float[np.ndarray, " images"]
    reach: float
    closest: bool
    points: Float[Tensor, "images *shape"] = field(repr=False)

    def accuracy(self, radius: float) -> float:
        """The share of images that nothing broke within this radius, in [0, 1]."""
        return float((self.distances > radius).mean())

    def interval(self, radius: float) -> Interval:
        """Its Wilson interval at 95 %."""
        return wilson(int((self.distances > radius).sum()), len(self.distances))

    def steps(self) -> list[tuple[float, float]]:
        """The radii up to `reach` at which the curve falls, from small to large, and where it falls to."""
        radii = [0.0, *np.unique(self.distances[(self.distances > 0) & (self.distances <= self.reach)]).tolist()]
        return [(radius, self.accuracy(radius)) for radius in radii]

    def as_json(self) -> dict[str, Any]:
        """Norm, bounds, and every image's distance; null where nothing broke it."""
        return {
            "norm": self.norm,
            "bounds": self.bounds,
            "reach": self.reach,
            "closest": self.closest,
            "distances": [float(distance) if np.isfinite(distance) else None for distance in self.distances],
        }
