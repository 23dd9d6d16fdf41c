"""The directions of features: in which they vary, and in which they are constant without being zero."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.errors import DataError
from retemper.information.rank import effective_rank


@dataclass(frozen=True)
class Spectrum:
    """In which directions features vary.

    Attributes:
        singular_values: of the centred features over sqrt(images), so that their squares are the variances along
            the principal directions; largest first, and as many as there are images or features, whichever are fewer.
        effective_rank: how many directions carry the variance.
        features: how many there are.
        constant: how many directions, orthogonal to one another, have a negligible variance.
        offset: the length of the mean's part in the constant directions. Turned so that one axis points along
            it, the features have a coordinate that is always `offset`, and cross-entropy uses it as a second bias.
    """

    singular_values: tuple[float, ...]
    effective_rank: float
    features: int
    constant: int
    offset: float


def spectrum(features: Float[Tensor, "images *shape"], negligible: float = 1e-6) -> Spectrum:
    """Measure in which directions features vary and in which they are constant; in float64, without a gradient.

    Args:
        features: one row an image.
        negligible: a direction is constant if its share of the variance is not above this. The choice is ours.

    Raises:
        DataError: there are fewer than two images.
    """
    rows = features.detach().flatten(1).double()
    if len(rows) < 2:
        raise DataError(f"Expected the features of two images or more, but got {len(rows)}.")
    # The first image as origin makes equal images exactly zero, where the mean alone leaves its own rounding.
    apart = rows - rows[:1]
    mean = rows[0] + apart.mean(0)
    _, values, directions = torch.linalg.svd((apart - apart.mean(0)) / len(rows) ** 0.5, full_matrices=False)
    varying = directions[values.square() > negligible * values.square().sum()]
    offset = mean - varying.T @ (varying @ mean)
    return Spectrum(
        singular_values=tuple(values.tolist()),
        effective_rank=float(effective_rank(rows)),
        features=rows.shape[1],
        constant=rows.shape[1] - len(varying),
        offset=float(offset.norm()),
    )
