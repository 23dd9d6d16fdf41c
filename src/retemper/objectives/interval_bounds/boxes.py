"""A box of what a layer may put out, from a box of what goes in."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models.normalise import Normalise
from retemper.models.silu import SiLU

Layer = Any  # each function below is called with the kind that it stands beside


class Box(NamedTuple):
    """Everything between two tensors, coordinate by coordinate."""

    lower: Float[Tensor, "images *shape"]
    upper: Float[Tensor, "images *shape"]

    @property
    def centre(self) -> Float[Tensor, "images *shape"]:
        """The middle."""
        return (self.lower + self.upper) / 2

    @property
    def reach(self) -> Float[Tensor, "images *shape"]:
        """From the middle to either end."""
        return (self.upper - self.lower) / 2


def through(name: str, layer: nn.Module, box: Box) -> Box:
    """A box that holds all outputs of one layer for inputs in a box: the smallest, but where padding repeats pixels.

    Raises:
        ModelError: a kind of layer that has no such rule here, or one with a `forward` of its own.
    """
    kind = next((kind for kind in type(layer).__mro__ if kind in RULES), None)
    if kind is None or type(layer).forward is not kind.forward:
        raise ModelError(
            f"No interval bound is known for the layer {name!r}, a {type(layer).__name__}. Known are, in "
            f"nn.Sequential: {', '.join(sorted({known.__name__ for known in RULES}))}."
        )
    return RULES[kind](layer, box)


def _linear(layer: Layer, box: Box) -> Box:
    centre, reach = layer(box.centre), F.linear(box.reach, layer.weight.abs())
    return Box(centre - reach, centre + reach)


def _convolution(layer: Layer, box: Box) -> Box:
    # In place of F.conv2d, for any padding.
    centre, reach = layer(box.centre), layer._conv_forward(box.reach, layer.weight.abs(), None)
    return Box(centre - reach, centre + reach)


def _rising(layer: Layer, box: Box) -> Box:
    return Box(layer(box.lower), layer(box.upper))


def _rising_if(parameter: str) -> Callable[[Layer, Box], Box]:
    def rule(layer: Layer, box: Box) -> Box:
        if getattr(layer, parameter) < 0:
            raise ModelError(f"Expected `{parameter}` of {layer} to be 0 or more, so that the layer only rises.")
        return _rising(layer, box)

    return rule


def _dipping(lowest: Callable[[Layer], float]) -> Callable[[Layer, Box], Box]:
    """Falls up to one place and rises from there on: least where a box comes nearest to it, largest at an end."""

    def rule(layer: Layer, box: Box) -> Box:
        dip = torch.full_like(box.lower, lowest(layer))
        return Box(layer(dip.clamp(box.lower, box.upper)), torch.maximum(layer(box.lower), layer(box.upper)))

    return rule


RULES: dict[type[nn.Module], Callable[[Layer, Box], Box]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    Normalise: _rising,
    nn.MaxPool2d: _rising,
    nn.AvgPool2d: _rising,
    nn.AdaptiveAvgPool2d: _rising,
    nn.Flatten: _rising,
    nn.Identity: _rising,
    nn.ReLU: _rising,
    nn.Tanh: _rising,
    nn.Sigmoid: _rising,
    nn.Softplus: _rising,
    nn.LeakyReLU: _rising_if("negative_slope"),
    nn.ELU: _rising_if("alpha"),
    **dict.fromkeys((nn.SiLU, SiLU), _dipping(lambda _layer: -1.2784645427610737)),
    nn.GELU: _dipping(lambda layer: -0.7517915246935644 if layer.approximate == "none" else -0.7524614220710162),
}
