"""Intervals for shares and for differences on the same images."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool

from retemper.errors import SettingError
from retemper.intervals import CONFIDENCE, Interval

__all__ = ["CONFIDENCE", "Interval", "paired_difference", "wilson"]


def wilson(successes: float, trials: int) -> Interval:
    """The Wilson interval of a share at 95 % (Wilson 1927); a mean number of successes may be a fraction.

    Raises:
        SettingError: there is no trial.

    >>> low, high = wilson(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    if trials < 1:
        raise SettingError(f"Expected one image or more, of which a share is known, but got {trials}.")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = successes / trials
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    # Exactly, where rounding would leave a share of all below 1, and so every claim of it refuted.
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if successes >= trials else min(1.0, centre + half))


def paired_difference(
    ours: Sequence[Bool[np.ndarray, " images"]], theirs: Sequence[Bool[np.ndarray, " images"]]
) -> tuple[float, Interval]:
    """The mean difference of two shares on the same images, and its interval at 95 %.

    Each sequence holds one row a seed; seeds are averaged an image first, so that the interval speaks of
    images, Student's t over them. How much seeds differ is told by the rows themselves. As Agresti & Min
    (2005) advise, the interval counts two images more than there are, so that images that all agree do not
    make it a point: theirs differ by 1, 0, 0 and -1 with weight one half; ours by +-sqrt(1/2), which has
    the same mean and variance.

    Raises:
        SettingError: there is no image.
    """
    from scipy.stats import ttest_1samp

    differences = np.mean(ours, axis=0, dtype=float) - np.mean(theirs, axis=0, dtype=float)
    if not len(differences):
        raise SettingError("Expected one image or more, on which two shares differ, but got none.")
    padded = [*differences, math.sqrt(0.5), -math.sqrt(0.5)]
    interval = ttest_1samp(padded, 0).confidence_interval(CONFIDENCE)
    return float(differences.mean()), Interval(max(-1.0, float(interval.low)), min(1.0, float(interval.high)))
