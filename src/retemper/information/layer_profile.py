"""What was measured of one layer."""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from retemper.errors import SettingError
from retemper.information.measures import largest_renyi
from retemper.information.resampling import Estimate
from retemper.intervals import Interval

QUANTITIES = {
    "activation_entropy": "activation entropy",
    "unit_entropy": "unit entropy",
    "renyi_entropy": "Renyi entropy",
    "effective_rank": "effective rank",
    "active": "active units",
}
"""What is measured of a layer, each with what it is called."""


@dataclass(frozen=True)
class LayerProfile:
    """One layer over all images that were shown; entropies in nats.

    Attributes:
        layer: the layer's name.
        units: how many numbers it puts out an image.
        images: how many images were shown.
        gram_images: over how many of them, the first, the Renyi entropy and the effective rank were taken.
        active: share of units above zero, in [0, 1].
        activation_entropy: at most log(units).
        unit_entropy: at most log(2).
        renyi_entropy: at most just below 1; NaN if read from a file that is older than it.
        effective_rank: at most min(gram_images - 1, units).
        replicates: each quantity over resampled images; empty where no intervals were asked for.
    """

    layer: str
    units: int
    images: int
    gram_images: int
    active: float
    activation_entropy: float
    unit_entropy: float
    renyi_entropy: float
    effective_rank: float
    replicates: dict[str, Float[np.ndarray, " replicates"]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def maxima(self) -> dict[str, float]:
        """The largest value that each quantity could take."""
        return {
            "active": 1.0,
            "activation_entropy": math.log(self.units),
            "unit_entropy": math.log(2),
            "renyi_entropy": largest_renyi(self.gram_images),
            "effective_rank": float(min(self.gram_images - 1, self.units)),
        }

    def estimate(self, quantity: str) -> Estimate:
        """One of the quantities with its replicates.

        Raises:
            SettingError: the profile was measured without replicates.
        """
        if quantity not in self.replicates:
            raise SettingError(
                f"Expected a profile with replicates for the interval of {quantity}, but layer {self.layer!r} has "
                "none; measure it with `profile(..., replicates=200)`."
            )
        return Estimate(getattr(self, quantity), self.replicates[quantity])

    def interval(self, quantity: str) -> Interval:
        """Where the quantity would lie over as many other images, at 95 %; within what is possible.

        Raises:
            SettingError: the profile was measured without replicates.
        """
        low, high = self.estimate(quantity).interval
        return Interval(max(0.0, low), min(self.maxima[quantity], high))

    def as_json(self) -> dict[str, Any]:
        """The figures, and the ends of their intervals in place of the replicates."""
        unknown = {quantity for quantity in QUANTITIES if math.isnan(getattr(self, quantity))}
        names = [entry.name for entry in fields(self) if entry.name not in {"replicates", *unknown}]
        intervals = {quantity: list(self.interval(quantity)) for quantity in self.replicates}
        return {name: getattr(self, name) for name in names} | ({"intervals": intervals} if intervals else {})

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read back what `as_json` gave, now or before there was a Renyi entropy; the replicates are not in it."""
        old = {"renyi_entropy": math.nan, "gram_images": value["images"]}
        return cls(**old | {name: entry for name, entry in value.items() if name != "intervals"})
