"""The profile of a network: what each layer's output keeps, beside what it could keep at most."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from retemper.activations import Layers, record
from retemper.information.measures import activation_entropy, hard_unit_entropy
from retemper.information.rank import effective_rank
from retemper.models import evaluation_mode, logits
from retemper.models.inference import check_finite, device_of


@dataclass(frozen=True)
class LayerProfile:
    """One layer over all images that were shown; entropies in nats.

    Attributes:
        layer: the layer's name.
        units: how many numbers it puts out an image.
        images: how many images were shown.
        active: share of units above zero, in [0, 1].
        activation_entropy: at most log(units).
        unit_entropy: at most log(2).
        effective_rank: at most min(images - 1, units).
    """

    layer: str
    units: int
    images: int
    active: float
    activation_entropy: float
    unit_entropy: float
    effective_rank: float

    @property
    def maxima(self) -> dict[str, float]:
        """The largest value that each quantity could take."""
        return {
            "active": 1.0,
            "activation_entropy": math.log(self.units),
            "unit_entropy": math.log(2),
            "effective_rank": float(min(self.images - 1, self.units)),
        }


def profile(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], layers: Layers = "all") -> list[LayerProfile]:
    """Measure every chosen layer of a model, in evaluation mode, over batches of (inputs, labels).

    All outputs of all layers are held at once for the rank: a few hundred images are meant.

    Raises:
        LayerError: no layer fits, or the model's nonlinearities cannot be seen from outside.
        ModelError: a logit is NaN or infinite.
    """
    outputs: dict[str, list[Tensor]] = {}
    device = device_of(model)
    with evaluation_mode(model), torch.no_grad(), record(model, layers) as activations:
        for inputs, _labels in batches:
            activations.clear()
            check_finite(model, logits(model, inputs.to(device)))
            for name, output in activations.items():
                outputs.setdefault(name, []).append(output.flatten(1))
        return [_layer(name, torch.cat(parts)) for name, parts in outputs.items()]


def _layer(name: str, output: Tensor) -> LayerProfile:
    return LayerProfile(
        layer=name,
        units=output.shape[1],
        images=len(output),
        active=float((output > 0).double().mean()),
        activation_entropy=float(activation_entropy(output)),
        unit_entropy=float(hard_unit_entropy(output)),
        effective_rank=float(effective_rank(output)),
    )
