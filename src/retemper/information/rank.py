"""The effective rank of features: how many directions carry them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.information.fused_entropy import TINY
from retemper.information.rows import centred, smaller_gram


def effective_rank(features: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """Exponential of the Shannon entropy of the normalised squared singular values of the centred features.

    Between 1 and min(images - 1, units); 0 where all images have the same features (Roy & Vetterli 2007,
    with squared singular values: the shares of the variance). Computed in float64, without a gradient.

    >>> effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    tensor(2., dtype=torch.float64)
    """
    features = features.detach().double()
    if (features == features[:1]).all():
        return features.new_zeros(())
    return rank_entropy(features).exp()


def rank_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """The logarithm of the effective rank over the batch, with a gradient; at most log min(images - 1, units).

    Small where few directions carry most of the variance. Images that are all the same count 0. Equal singular
    values, zeros among them, have a gradient; a second one they have not.

    >>> rank_entropy(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    tensor(0.6931)
    """
    gram = smaller_gram(centred(activations))
    total = gram.trace()
    if not total.isfinite():  # of which the decomposition makes an error, and a training's own check a clear one
        return total
    # The gradient of the eigenvalues takes the eigenvectors alone, no differences of eigenvalues.
    shares = torch.linalg.eigvalsh(gram / torch.where(total > 0, total, 1))
    # A direction's gradient goes to zero with its share, though the slope of p log p goes to infinity.
    return torch.special.entr(shares.clamp_min(TINY)).sum()


def largest_rank_entropy(images: int, units: int) -> float:
    """The largest `rank_entropy`; centring takes one direction from the images."""
    return math.log(max(1, min(images - 1, units)))
