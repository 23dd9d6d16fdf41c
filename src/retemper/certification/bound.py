"""The Lipschitz constant of a whole network, bounded layer by layer."""

import math
from collections.abc import Sequence

from torch import nn

from retemper.certification.layers import layer_bound, runs_as
from retemper.models.parametrised import materialised

# Of each product or singular value, relative: far above what float64 rounds away, far below what anyone would see.
SLACK = 1e-9


def lipschitz_bound(model: nn.Module) -> float:
    """An upper bound of the L2 Lipschitz constant from inputs to logits: the product of the layers' own.

    It is computed in float64 from the weights that the layers hold now, whatever they are called and however they
    were trained; the layers' own bounds are enlarged by `SLACK` for rounding. Tight for layers that keep norms, far
    from it for ordinary ones.

    Args:
        model: `nn.Sequential`, of layers that `layer_bound` knows.

    Raises:
        ModelError: another kind of model, or a layer that is not known, by name.
    """
    return product(layers_of(in_float64(model)))


def product(layers: Sequence[nn.Module]) -> float:
    """The product of the layers' bounds, rounded up."""
    return math.prod(layer_bound(layer) * (1 + SLACK) for layer in layers)


def in_float64(model: nn.Module) -> nn.Module:
    """A copy in float64 and evaluation mode, with weights as the model computes with them, digit by digit."""
    return materialised(model).double()


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of nested nn.Sequential in the order in which they run; any other module counts as one layer."""
    if isinstance(model, nn.Sequential) and len(model) > 0 and runs_as(model, nn.Sequential):
        return [layer for child in model for layer in layers_of(child)]
    return [model]
