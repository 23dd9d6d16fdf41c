"""Scores of both classes in one ascending order, and what is counted along it."""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


class Ranked(NamedTuple):
    """The scores in ascending order, a negative before a positive of the same score.

    A pair falls short where its positive stands before its negative.

    Attributes:
        scores: in float64.
        positive: which of them are the positives'.
    """

    scores: Float[Tensor, " scores"]
    positive: Bool[Tensor, " scores"]

    @property
    def gaps(self) -> Float[Tensor, " gaps"]:
        """From each score to the next: none is negative, so that sums of them lose no digits."""
        return self.scores.diff()

    @property
    def positives_so_far(self) -> Float[Tensor, " scores"]:
        """How many positives stand before each score or there."""
        return self.positive.cumsum(0).double()

    @property
    def negatives_to_come(self) -> Float[Tensor, " scores"]:
        """How many negatives stand after each score or there."""
        return (~self.positive).flip(0).cumsum(0).flip(0).double()


class Sums(NamedTuple):
    """What a loss sums to.

    Attributes:
        total: of the losses of all pairs.
        shares: for each score, the sum over its pairs of the derivative by the shortfall, negative - positive.
    """

    total: Float[Tensor, ""]
    shares: Float[Tensor, " scores"]
