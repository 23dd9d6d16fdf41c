"""A layer's outputs as rows, one an image, and what the rows have in common."""

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.information.fused_entropy import HALF


def rows_of(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, "images units"]:
    """One row an image, in at least float32: sums of thousands of units need its digits."""
    rows = activations.flatten(1)
    return rows.float() if rows.dtype in HALF else rows


def centred(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, "images units"]:
    """`rows_of` with units of mean zero, scaled so that nothing over- or underflows when it is squared.

    The scale is held constant in the gradient: for measures that do not change with the layer's scale.
    """
    rows = rows_of(activations)
    # The first image as origin makes equal images exactly zero, where the mean alone leaves its own rounding.
    rows = rows - rows[:1]
    scale = rows.detach().abs().amax()
    rows = rows / torch.where(scale > 0, scale, 1)
    return rows - rows.mean(0)


def squared_distances(rows: Float[Tensor, "images units"]) -> Float[Tensor, "images images"]:
    """Of every image to every other, never in half precision, whatever autocast would choose."""
    # Distances do not change with the origin, and near it they lose no digits: equal images are exactly equal.
    rows = rows - rows[:1].detach()
    norms = rows.square().sum(1)
    with torch.autocast(rows.device.type, enabled=False):
        products = rows @ rows.T
    return (norms[:, None] + norms[None, :] - 2 * products).clamp_min(0)


def smaller_gram(rows: Float[Tensor, "images units"]) -> Float[Tensor, "size size"]:
    """Rows times rows or columns times columns, whichever are fewer: both have the same eigenvalues other than zero.

    Never in half precision, whatever autocast would choose.
    """
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
