"""Differential training of a linear classifier on all pairs, to the end."""

import itertools

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.errors import SettingError
from retemper.margins.direction import widest_gap
from retemper.margins.linear import LinearMargin, checked, measured
from retemper.margins.overlap import least_pair_loss
from retemper.objectives.biases import class_shifts, threshold_shift


def fit_margin(
    features: Float[Tensor, "images features"], labels: Int[Tensor, " images"], *, tolerance: float = 1e-6
) -> LinearMargin:
    """Train a linear classifier differentially: by the pair loss on all pairs of points of different classes.

    Two classes that a hyperplane separates: the margin is the hard-margin SVM's but for the share `tolerance`, and
    the closest points have scores 1 and -1. If they overlap, or are nearer than 1e-10 of their extent, which float64
    does not tell: the weights of least mean pair loss, which are finite; `separable` is then False. The loss, its
    limit, and the bias halfway between the closest scores or where training error is least are those of Nar et al.
    2019 (1901.08360); how the limit is reached is ours (`widest_gap`).

    More classes (ours): each pair of classes (a, b) with its score z_a - z_b; of the weights with a given norm of
    them all, those with the largest smallest gap over all pairs, or of least mean pair loss where some pair of
    classes overlaps. Biases as in `fit_biases`.

    Memory and time grow with the square and the cube of outputs * features: the last layer of a network is meant.

    Args:
        features: one row an image.
        labels: integers in [0, classes), each of which has an image.
        tolerance: the share of the margin that may be missing, in (0, 1).

    Raises:
        SettingError: such a tolerance cannot be.
        DataError: the features are not finite, the shapes do not fit together, or there are no two classes.
        DivergenceError: the features' digits do not suffice to come so near; a larger tolerance ends earlier, features
            in like units have more.

    >>> found = fit_margin(torch.tensor([[0.0, 5.0], [2.0, 5.0]]), torch.tensor([0, 1]))
    >>> found.weight, found.bias, found.margin
    (tensor([[1., 0.]], dtype=torch.float64), tensor([-1.], dtype=torch.float64), 1.0)
    """
    if not 0 < tolerance < 1:
        raise SettingError(f"Expected a `tolerance` between 0 and 1, but got {tolerance}.")
    points, classes = checked(features, labels)
    mean = points.mean(0)
    centred = points - mean
    # All weights lie in the span of the points, which is the smaller space where there are few of them.
    basis = torch.linalg.qr(centred.T).Q if centred.shape[0] < centred.shape[1] else None
    members = [(centred if basis is None else centred @ basis)[labels == label] for label in range(classes)]
    pairs = [(1, 0)] if classes == 2 else list(itertools.combinations(range(classes), 2))
    sides = [(members[first], members[second]) for first, second in pairs]
    contrasts = _contrasts(pairs, classes).to(points)
    found = widest_gap(sides, contrasts, tolerance)
    if found.gap > 0:
        # As the paper has it for two classes: w (x - y) >= 2 for all pairs.
        weight, steps = 2 * found.weight / (found.gap * found.weight.norm()), found.steps
    else:
        weight, steps = least_pair_loss(sides, contrasts)
    if basis is not None:
        weight = weight @ basis.T
    bias = _biases(centred @ weight.T, labels, weight) - weight @ mean
    return measured(points, labels, weight, bias, steps)


def _contrasts(pairs: list[tuple[int, int]], classes: int) -> Tensor:
    """One row a pair of classes: 1 for the first, -1 for the second; two classes have one output, their score."""
    if classes == 2:
        return torch.ones(1, 1)
    rows = torch.zeros(len(pairs), classes)
    for row, (first, second) in zip(rows, pairs, strict=True):
        row[first], row[second] = 1, -1
    return rows


def _biases(scores: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    values, classes = scores.cpu().numpy(), labels.cpu().numpy()
    if len(weight) == 1:
        shifts = np.array([threshold_shift(values[:, 0], classes)])
    else:
        distances = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")
        shifts = class_shifts(values, classes, distances.cpu().numpy())
    return torch.as_tensor(shifts, dtype=weight.dtype, device=weight.device)
