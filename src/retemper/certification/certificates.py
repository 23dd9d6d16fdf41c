"""For each image, a radius within which no input whatever changes the answer."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.certification.bound import SLACK, in_float64, layers_of, product
from retemper.certification.layers import runs_as
from retemper.checks import is_a
from retemper.data import Split
from retemper.errors import ModelError
from retemper.models.inference import check_finite, device_of

# How many roundings of the network's own type its scores may be off, relative to the features times the last weights.
# An allowance and no theorem: rounding errors add up like a random walk over far fewer terms that matter.
ROUNDINGS = 1000


@dataclass(frozen=True)
class Certificates:
    """Radii in L2, one an image: whatever lies nearer is answered rightly, inside the bounds of images and outside.

    Attributes:
        radii: 0 where the answer is wrong, infinite where no input changes it.
        lipschitz: the constant that they rest on: of the features before the last layer, or of all if that is not
            linear.
    """

    radii: Float[np.ndarray, " images"]
    lipschitz: float

    def holds(self, radius: float) -> Bool[np.ndarray, " images"]:
        """For every image, whether its certificate reaches this radius; at 0, whether it has one at all."""
        return (self.radii > 0) & (self.radii >= radius)

    def accuracy(self, radius: float) -> float:
        """The share of images that are certified at this radius, in [0, 1]: a lower bound of the robust accuracy."""
        return float(self.holds(radius).mean())

    def as_json(self) -> dict[str, Any]:
        """Norm, constant, and every image's radius; null where it is infinite."""
        return {
            "norm": "l2",
            "lipschitz": self.lipschitz,
            "radii": [float(radius) if math.isfinite(radius) else None for radius in self.radii],
        }


def certify(model: nn.Module, split: Split, *, batch_size: int = 256) -> Certificates:
    """Certify every image of a split: the smallest of (z_y - z_k) / (||w_y - w_k|| L) over the other classes k.

    L bounds the Lipschitz constant of the features that the last, linear layer reads (Hein & Andriushchenko 2017,
    1705.08475; Tsuzuku et al. 2018, 1802.04034); for a single score s that is |s| / (||w|| L). All is computed in
    float64 on the weights that the model holds. The network itself may run in float32: `ROUNDINGS` of its own type
    are taken off the differences of scores. That is too little for a network that runs in TF32 or in half precision.

    Args:
        model: `nn.Sequential`, of layers that are known (`lipschitz_bound`); it stays as it is.
        split: the images.
        batch_size: images at a time.

    Raises:
        ModelError: a layer that is not known, a label without a logit, or logits that are not finite.
        SettingError: it is no split.
    """
    is_a(Split, "take one of the data, such as data.test", split=split)
    layers = layers_of(in_float64(model))
    # A network that does not end in a linear layer is one of features that are its scores.
    last = layers[-1] if isinstance(layers[-1], nn.Linear) and runs_as(layers[-1], nn.Linear) else None
    layers = layers[:-1] if last is not None else layers
    bound, device = product(layers), device_of(model)
    epsilon = max((torch.finfo(value.dtype).eps for value in model.parameters()), default=torch.finfo().eps)
    radii = []
    with torch.no_grad():
        for inputs, labels in split.batches(batch_size):
            features = nn.Sequential(*layers)(inputs.to(device).double())
            weights, biases = _scoring(last, features)
            check_finite(model, F.linear(features, weights, biases))
            radii.append(_radii(features, labels.to(device), weights, biases, bound, ROUNDINGS * epsilon))
    return Certificates(torch.cat(radii).cpu().numpy(), bound)


def _scoring(
    last: nn.Linear | None, features: Float[Tensor, "images features"]
) -> tuple[Float[Tensor, "classes features"], Float[Tensor, " classes"]]:
    """Weights and biases of the scores; a single one is the score of class 1 against class 0, which has none."""
    if last is None:
        weights = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
        biases = weights.new_zeros(len(weights))
    else:
        weights = last.weight
        biases = last.bias if last.bias is not None else weights.new_zeros(len(weights))
    if len(weights) == 1:
        weights, biases = F.pad(weights, (0, 0, 1, 0)), F.pad(biases, (1, 0))
    return weights, biases


def _radii(
    features: Float[Tensor, "images features"],
    labels: Int[Tensor, " images"],
    weights: Float[Tensor, "classes features"],
    biases: Float[Tensor, " classes"],
    bound: float,
    rounding: float,
) -> Float[Tensor, " images"]:
    if not 0 <= int(labels.min()) <= int(labels.max()) < len(weights):
        raise ModelError(
            f"The network has {len(weights)} classes, but the labels reach from {int(labels.min())} to "
            f"{int(labels.max())}; certify it on the classes that it was trained for."
        )
    steepness = (weights[labels][:, None] - weights).norm(dim=-1)  # of z_y - z_k in the features
    offsets = (biases[labels][:, None] - biases).abs()
    scores = F.linear(features, weights, biases)
    gaps = scores.gather(1, labels[:, None]) - scores
    gaps -= rounding * (features.norm(dim=1, keepdim=True) * steepness + offsets)
    radii = torch.where(gaps > 0, gaps / ((1 + SLACK) * bound * steepness), 0)
    return radii.scatter(1, labels[:, None], torch.inf).amin(1)
