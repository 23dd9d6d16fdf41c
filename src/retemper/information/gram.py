"""What the distances between images tell of a layer: effective rank and Renyi entropy, with each image's influence."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

_UNITS = 4096  # turned into float64 at a time, so that memory does not grow with the layer


class Influenced(NamedTuple):
    """A figure and its influence function: d figure / d weight of each image, times the number of images; mean zero.

    To first order the figure over images with other weights is `figure` + the weighted mean of `influence`
    (Jaeckel 1972, "The infinitesimal jackknife"; Efron 1982). Effective rank and Renyi entropy cannot be computed
    over a resample instead: an image drawn twice spans no new direction and has a distance of zero to itself, which
    lowers both by more than their spread.
    """

    figure: Float[Tensor, ""]
    influence: Float[Tensor, " images"]

    def reweighted(self, weights: Float[Tensor, "images columns"]) -> Float[Tensor, " columns"]:
        """The figure for each column of weights, to first order."""
        return self.figure + (self.influence @ weights) / weights.sum(0)


def gram(parts: Sequence[Float[Tensor, "images units"]]) -> Float[Tensor, "all_images all_images"]:
    """The products of all images' outputs with one another, centred, in float64."""
    images = sum(len(part) for part in parts)
    products = torch.zeros(images, images, dtype=torch.float64)
    for first in range(0, parts[0].shape[1], _UNITS):
        rows = torch.cat([part[:, first : first + _UNITS] for part in parts]).double()
        # The first image as origin makes equal images exactly zero, where the mean alone leaves its own rounding.
        rows = rows - rows[:1]
        rows = rows - rows.mean(0)
        products += rows @ rows.T
    return products


def effective_rank(products: Float[Tensor, "images images"]) -> Influenced:
    """`retemper.information.effective_rank`, from centred products.

    With H the entropy of the variances' shares p_k and u_ik the eigenvectors' entries, weighting image i moves H by
    N sum_k u_ik^2 p_k (-log p_k - H), and the rank e^H by e^H times as much.
    """
    images = len(products)
    variances, vectors = torch.linalg.eigh(products)
    shares = variances.clamp_min(0)
    total = shares.sum()
    if total == 0:
        return Influenced(total, torch.zeros(images, dtype=torch.float64))
    shares = shares / total
    entropies = torch.special.entr(shares)
    rank = entropies.sum().exp()
    return Influenced(rank, rank * images * (vectors.square() @ (entropies - shares * entropies.sum())))


def renyi_entropy(products: Float[Tensor, "images images"]) -> Influenced:
    """`retemper.information.measures.renyi_entropy`, from centred products.

    With d_ij the squared distances, D their mean and k_ij = exp(-d_ij / D), it is -log of the mean M of k. Weighting
    image i moves M by 2 (mean_j k_ij - M), and by 2 (mean_j d_ij - D) mean(k d) / D^2 through the bandwidth.
    """
    norms = products.diagonal()
    squared = (norms[:, None] + norms[None, :] - 2 * products).clamp_min(0)
    bandwidth = squared.mean()
    if bandwidth == 0:
        return Influenced(bandwidth, torch.zeros_like(norms))
    kernel = (-squared / bandwidth).exp()
    mean = kernel.mean()
    through_bandwidth = (kernel * squared).mean() / bandwidth.square()
    moves = 2 * (kernel.mean(1) - mean) + 2 * (squared.mean(1) - bandwidth) * through_bandwidth
    return Influenced(-mean.log(), -moves / mean)
