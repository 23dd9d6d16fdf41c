"""How many images a verdict on a claim needs."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from retemper.errors import SettingError
from retemper.evaluation.claim import Claim
from retemper.evaluation.intervals import CONFIDENCE


class Needed(NamedTuple):
    """Images that a verdict needs where the attacked accuracy lies `gap` away from the claim.

    Attributes:
        gap: the distance, as a share.
        refuted: images for "refuted" where the attacked accuracy lies that far below the claim; none where
            no accuracy does.
        not_refuted: images for "not refuted" where it lies that far above.
    """

    gap: float
    refuted: int | None
    not_refuted: int | None


def plan_images(claim: Claim, gaps: Sequence[float] = (0.10, 0.05, 0.02, 0.01), power: float = 0.9) -> list[Needed]:
    """Find how many images give the right verdict with a probability of `power`, for each gap.

    The number is the smallest from which on every larger one has that power too: counts being whole, power
    goes up and down by a little from one number of images to the next. Binomial probabilities are exact.

    >>> from retemper.evaluation.claim import parse_claim
    >>> plan_images(parse_claim("0.41@linf:8/255"), gaps=[0.1])
    [Needed(gap=0.1, refuted=250, not_refuted=263)]

    Args:
        claim: what will be judged.
        gaps: how far the attacked accuracy may lie from the claim, as shares in (0, 1).
        power: the probability of the right verdict, in (0, 1).

    Raises:
        SettingError: a gap or the power is no such number.
    """
    for name, values in {"gaps": gaps, "power": [power]}.items():
        if not all(0 < value < 1 for value in values):
            raise SettingError(f"Expected `{name}` between 0 and 1, both left out, but got {values}.")
    return [Needed(gap, *(_images(claim.accuracy, gap, side, power) for side in (-1, 1))) for gap in gaps]


def _images(claimed: float, gap: float, side: int, power: float) -> int | None:
    accuracy = round(claimed + side * gap, 12)  # 0.95 + 0.05 is to be 1
    if not 0 <= accuracy <= 1:
        return None
    normal = NormalDist()
    # The normal approximation errs by far less than half, so that twice its answer ends the search.
    spread = normal.inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(claimed * (1 - claimed))
    spread += max(0.0, normal.inv_cdf(power)) * math.sqrt(accuracy * (1 - accuracy))
    end = 2 * math.ceil((spread / gap) ** 2) + 100
    enough = _powerful(np.arange(1, end + 1), claimed, accuracy, side, power)
    while not enough[-1]:
        end *= 2
        enough = _powerful(np.arange(1, end + 1), claimed, accuracy, side, power)
    return int(np.flatnonzero(~enough).max(initial=-1)) + 2


def _powerful(
    images: Int[np.ndarray, " numbers"], claimed: float, accuracy: float, side: int, power: float
) -> Bool[np.ndarray, " numbers"]:
    """For each number of images, whether the verdict comes out with the wanted probability.

    Wilson's interval inverts the score test: it lies on one side of the claim just where the count is more
    than z standard deviations, taken at the claim, away from what the claim expects.
    """
    from scipy.stats import binom

    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    deviation = z * np.sqrt(images * claimed * (1 - claimed))
    if side < 0:
        return binom.cdf(np.ceil(images * claimed - deviation) - 1, images, accuracy) >= power
    return binom.sf(np.ceil(images * claimed + deviation) - 1, images, accuracy) >= power
