"""Differentiable entropies of a layer's output, in nats, each with the largest value that it can take.

For a deterministic layer these are proxies of the information that is lost, not that information: they need
not fall from layer to layer, and most grow with the width, so each is read beside its maximum.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.information.fused_entropy import TINY, fused_entropy
from retemper.information.gaussian import gaussian_entropy, largest_gaussian
from retemper.information.rank import largest_rank_entropy, rank_entropy
from retemper.information.rows import rows_of, squared_distances


class Measure(NamedTuple):
    """An entropy of one layer's output over a batch.

    Attributes:
        entropy: of the output.
        maximum: for so many images and units.
        by_image: it is a mean over images, so that some of them estimate it without bias.
    """

    entropy: Callable[[Float[Tensor, "images *shape"]], Float[Tensor, ""]]
    maximum: Callable[[int, int], float]
    by_image: bool = False


def activation_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """Shannon entropy of q = |a| / sum |a| within one image, averaged over images; at most log units.

    Small where few units carry most of the activation. An image whose activations are all zero counts 0.

    >>> activation_entropy(torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    tensor(0.6931)
    """
    return fused_entropy(activations)


def softmax_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """Shannon entropy of softmax(a) within one image, averaged over images; at most log units.

    >>> softmax_entropy(torch.zeros(1, 4)).exp()
    tensor(4.)
    """
    logs = rows_of(activations).log_softmax(1)
    return -(logs.exp() * logs).sum(1).mean()


def unit_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """Binary entropy of each unit's firing rate over images, averaged over units; at most log 2.

    A unit fires by 1 - exp(-max(a, 0) / s), s being the layer's root mean square, held constant in the
    gradient: the choice is ours, a soft count that has a gradient and does not change when the layer is scaled.
    """
    values = rows_of(activations)
    scale = values.detach().square().mean().sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    rate = (1 - (-values.clamp_min(0) / scale).exp()).mean(0)
    return _binary_entropy(rate).mean()


def hard_unit_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """Binary entropy of the share of images on which each unit is above zero, averaged over units.

    Counts, so without a gradient: for the profile; `unit_entropy` is its soft form.
    """
    return _binary_entropy((rows_of(activations) > 0).to(torch.float64).mean(0)).mean()


def renyi_entropy(activations: Float[Tensor, "images *shape"]) -> Float[Tensor, ""]:
    """Matrix-based Renyi entropy of order 2 over the batch, -log tr(A^2); at most `largest_renyi`, just below 1.

    A = K / N with the Gaussian kernel K_ij = exp(-|a_i - a_j|^2 / (2 s^2)) (Sánchez Giraldo, Rao & Príncipe
    2015, 1211.2459; order 2 needs no eigenvalues). s^2 is the mean squared distance of the batch, so that
    scaling the layer changes nothing: that choice is ours.
    """
    squared = squared_distances(rows_of(activations))
    # Part of the gradient: were it held constant, features would shrink without end and the entropy stay.
    bandwidth = squared.mean().clamp_min(TINY)
    kernel = (-squared / (2 * bandwidth)).exp()
    return -(kernel / len(kernel)).square().sum().log()


def largest_renyi(images: int) -> float:
    """The Renyi entropy of images that are all equally far from each other.

    The kernel's bandwidth is the mean squared distance D, so the mean of exp(-d / D) over pairs of two images, whose d
    are D N / (N - 1) on average, is exp(-N / (N - 1)) or more by Jensen's inequality; so log N is never reached.
    """
    if images == 1:
        return 0.0
    return -math.log(1 / images + (1 - 1 / images) * math.exp(-images / (images - 1)))


def _binary_entropy(rate: Tensor) -> Tensor:
    return torch.special.entr(rate.clamp(TINY, 1)) + torch.special.entr((1 - rate).clamp(TINY, 1))


MEASURES: dict[str, Measure] = {
    "activation": Measure(activation_entropy, lambda _images, units: math.log(units), by_image=True),
    "softmax": Measure(softmax_entropy, lambda _images, units: math.log(units), by_image=True),
    "unit": Measure(unit_entropy, lambda _images, _units: math.log(2)),
    "renyi": Measure(renyi_entropy, lambda images, _units: largest_renyi(images)),
    "gaussian": Measure(gaussian_entropy, largest_gaussian),
    "effective-rank": Measure(rank_entropy, largest_rank_entropy),
}
