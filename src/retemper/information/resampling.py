"""Intervals over images that are not kept: a bootstrap whose weights are drawn as the images stream by."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.intervals import CONFIDENCE, Interval
from retemper.noise import Noise

# How likely a Poisson variable of mean 1 is to be at most 0, 1, 2, ...; to be above 9 has odds of one in ten million.
_AT_MOST = torch.tensor([math.exp(-1) / math.factorial(count) for count in range(10)], dtype=torch.float64).cumsum(0)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure over some images, and what it would have been over others.

    Attributes:
        value: over the images as they are.
        replicates: over the same images drawn anew, as often as one likes. Those of two estimates on the same images
            belong together one by one, which makes the interval of a difference a paired one.
    """

    value: float
    replicates: Float[np.ndarray, " replicates"]

    @classmethod
    def of(cls, values: Float[Tensor, " figure_and_replicates"]) -> Self:
        """Out of the figure and its replicates, which are moved so that the figure is their mean.

        Images drawn twice say nothing new: an entropy over a resample lies below that of as many new images. So does
        every replicate, and without the move the whole interval would.
        """
        figure, *replicates = values.tolist()
        moved = np.array(replicates)
        return cls(figure, moved + (figure - np.nanmean(moved)) if replicates else moved)

    @property
    def interval(self) -> Interval:
        """The middle 95 % of the replicates: where the figure would lie over as many other images."""
        tail = (1 - CONFIDENCE) / 2
        low, high = np.nanquantile(self.replicates, [tail, 1 - tail])
        return Interval(float(low), float(high))

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value - other.value, self.replicates - other.replicates)

    def __truediv__(self, maximum: float) -> "Estimate":
        return Estimate(self.value / maximum, self.replicates / maximum)


def weights(
    images: Int[Tensor, " images"], replicates: int, seed: int
) -> Float[Tensor, "images figure_and_replicates"]:
    """How often each image counts: once in the figure, and in each replicate as often as a Poisson variable says.

    The bootstrap draws as many images as there are, with replacement; independent Poisson variables of mean 1 come to
    the same where the images are many, and need not know how many (Chamandy et al. 2012, "Estimating uncertainty for
    massive data streams"). The weights hang on the seed and on the image's number alone.
    """
    noise = Noise.keyed(images, seed, "bootstrap").uniform(replicates, dtype=torch.float64)
    drawn = torch.bucketize(noise, _AT_MOST, right=True).float()
    return torch.cat([torch.ones(len(images), 1), drawn], dim=1)
