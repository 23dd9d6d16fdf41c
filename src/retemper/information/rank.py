"""The effective rank of features: how many directions carry them."""

import torch
from jaxtyping import Float
from torch import Tensor


def effective_rank(features: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """Exponential of the Shannon entropy of the normalised squared singular values of the centred features.

    Between 1 and min(images - 1, units); 0 where all images have the same features (Roy & Vetterli 2007,
    with squared singular values: the shares of the variance). Computed in float64, without a gradient.

    >>> effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    tensor(2., dtype=torch.float64)
    """
    rows = features.detach().flatten(1).double()
    # The first image as origin makes equal images exactly zero, where the mean alone leaves its own rounding.
    rows = rows - rows[:1]
    rows = rows - rows.mean(0)
    # The smaller of the two Gram matrices has the same eigenvalues other than zero.
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    variances = torch.linalg.eigvalsh(gram).clamp_min(0)
    total = variances.sum()
    if total == 0:
        return total
    return torch.special.entr(variances / total).sum().exp()
