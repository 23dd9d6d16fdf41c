"""The entropy of a layer's output as if it were Gaussian: the log-determinant of its covariance."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.information.rows import centred, smaller_gram

RIDGE = 1.0  # the variance of the noise, beside 1 for a unit
FLOOR = 1e-3  # a share of the mean variance of the layer's units, added to that of each


def gaussian_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """1/2 log det(I + C / `RIDGE`), C the covariance of the standardised units over the batch; see `largest_gaussian`.

    If units were Gaussian, this would be what is known of them, in nats, from a copy with independent Gaussian noise
    of variance `RIDGE` on each: the capacity of that channel, and the coding rate of Yu et al. 2020 (2006.08558) but
    for the scale. The entropy itself, 1/2 log det C, is minus infinity where a direction is constant, as all are from
    the batch's size on, and moves with the scale. So standardisation and ridge are ours: each unit is divided by the
    root of its variance plus `FLOOR` times the layer's mean variance. Constant units count 0, units that hardly vary
    have bounded gradients, and scaling the layer changes nothing.

    >>> gaussian_entropy(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])).exp()
    tensor(1.9990)
    """
    rows = centred(activations)
    variances = rows.square().mean(0)
    floor = FLOOR * variances.mean()
    standardised = rows / torch.where(floor > 0, variances + floor, 1).sqrt()
    # Sylvester: det(I + A^T A) = det(I + A A^T), so that a wide layer costs images x images.
    covariance = smaller_gram(standardised) / len(rows)
    ones = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.logdet(ones + covariance / RIDGE) / 2


def largest_gaussian(images: int, units: int) -> float:
    """The largest `gaussian_entropy`: k/2 log(1 + units / (k (1 + `FLOOR`) `RIDGE`)), k = min(images - 1, units).

    C has at most k eigenvalues other than zero, since units have mean zero over the images. Its trace, the sum of
    v / (v + `FLOOR` mean v) over the units' variances v, is concave in them and so at most units / (1 + `FLOOR`), where
    all are equal. At a given trace the log-determinant is largest where the k eigenvalues are equal.
    """
    directions = min(images - 1, units)
    if directions == 0:
        return 0.0
    return directions / 2 * math.log1p(units / (directions * (1 + FLOOR) * RIDGE))
