"""The margin of a linear classifier: how far its nearest point lies from where the answer changes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.errors import DataError


def margin(
    features: Float[Tensor, "images features"],
    labels: Int[Tensor, " images"],
    weight: Float[Tensor, "scores features"],
    bias: Float[Tensor, " scores"],
) -> float:
    """The smallest distance of a point to the boundary of its class, in the features' units; computed in float64.

    Over images with label y and all other classes k, the smallest (z_y - z_k) / ||w_y - w_k||; negative where a
    point is on the wrong side. Between classes with the same weights there is no boundary: the distance is then
    infinite, with the sign of z_y - z_k, or 0 where they have the same score.

    Args:
        features: one row an image.
        labels: integers in [0, classes).
        weight: one row a class, as in the last layer of a network; for two classes also a single row, the score
            of class 1 against class 0.
        bias: one a row.

    Raises:
        DataError: the shapes do not fit together, or there is no such class.
    """
    if features.ndim != 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1] or len(weight) != len(bias):
        raise DataError(
            "Expected features of shape (images, features), weights of shape (scores, features) and a bias a score, "
            f"but got {tuple(features.shape)}, {tuple(weight.shape)} and {tuple(bias.shape)}."
        )
    weight, bias = weight.detach().double(), bias.detach().double()
    if len(weight) == 1:
        weight, bias = torch.cat([torch.zeros_like(weight), weight]), torch.cat([torch.zeros_like(bias), bias])
    if len(labels) != len(features) or not len(labels) or labels.min() < 0 or labels.max() >= len(weight):
        raise DataError(
            f"Expected a label in [0, {len(weight) - 1}] for each of {len(features)} images, "
            f"but got {len(labels)} labels" + (f" from {labels.min()} to {labels.max()}." if len(labels) else ".")
        )
    labels = labels.long()
    scores = features.detach().double() @ weight.T + bias
    ahead = scores.gather(1, labels[:, None]) - scores
    # Without the detour over products, whose rounding keeps equal weights apart.
    lengths = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")[labels]
    distances = (ahead / lengths).nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    return float(distances.scatter(1, labels[:, None], torch.inf).min())
