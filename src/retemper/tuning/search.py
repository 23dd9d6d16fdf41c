"""The search for a weight: on a logarithmic scale, always next to the best so far."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

STEP = 3.0  # the factor to the next weight outwards; ours
SURE = 2.0  # standard errors by which a weight has to be better than the first; ours


@dataclass(frozen=True)
class Trial:
    """What a weight reached on validation images, shares in [0, 1].

    Attributes:
        weight: of the term; 0 for the model as it was, without any retraining.
        clean: accuracy on all validation images.
        robust: the mean over the threats of the share of attacked images that stood.
    """

    weight: float
    clean: float
    robust: float


def best_of(trials: Sequence[Trial], floor: float) -> Trial:
    """The most robust of those whose clean accuracy is not below the floor; of none, the cleanest."""
    return max(trials, key=lambda trial: _rank(trial, floor))


def chosen(trials: Sequence[Trial], withstood: Sequence[Float[np.ndarray, " images"]], floor: float) -> int:
    """The place of the trial to stay with: the best, or the weight that was tried first where it is about as good.

    The best of several is in part the luckiest on these images. So another weight takes the place of the first only
    where its robust accuracy is more than two standard errors higher, paired over images. Breiman et al. (1984,
    Classification and Regression Trees) prefer the simplest choice within one; two are as sure as a 95 % interval.
    Where the first does no better than the model as it was, there is nothing to stay with: then the best is taken.

    Args:
        trials: the model as it was, then each weight in the order in which they were tried.
        withstood: of each trial, for every attacked image the share of threats that it withstood.
        floor: of clean accuracy.
    """
    best = trials.index(best_of(trials, floor))
    if best == 0 or best_of(trials[:2], floor) is trials[0]:
        return best
    gains = withstood[best] - withstood[1]
    # The error that the mean has where there is no difference: so a single image never moves the choice.
    error = math.sqrt(np.square(gains).mean() / len(gains))
    return best if gains.mean() > SURE * error else 1


def following(trials: Sequence[Trial], floor: float, first: float) -> float:
    """The weight to try next, for robust accuracy that rises and then falls with the weight.

    Outwards from the best by a factor of `STEP` while the best lies at an end of what was tried; afterwards halfway,
    on a logarithmic scale, to the better one of its neighbours. Down where no weight keeps clean accuracy.
    """
    tried = sorted((trial for trial in trials if trial.weight > 0), key=lambda trial: trial.weight)
    if not tried:
        return first
    best = best_of(tried, floor)
    place = tried.index(best)
    if best.clean < floor or (place == 0 and len(tried) > 1):
        return tried[0].weight / STEP
    if place == len(tried) - 1:
        return best.weight * STEP
    neighbour = best_of([tried[place - 1], tried[place + 1]], floor)
    return math.sqrt(best.weight * neighbour.weight)


def _rank(trial: Trial, floor: float) -> tuple[bool, float]:
    kept = trial.clean >= floor
    return kept, trial.robust if kept else trial.clean
