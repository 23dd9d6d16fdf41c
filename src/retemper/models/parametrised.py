"""Models that make weights out of others in each pass (`torch.nn.utils.parametrize`)."""

import copy

from torch import nn
from torch.nn.utils import parametrize


def is_parametrised(model: nn.Module) -> bool:
    """Whether any of a model's layers makes its weights anew in each pass."""
    return any(parametrize.is_parametrized(layer) for layer in model.modules())


def materialised(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode that holds, instead of computing them anew in each pass, weights made from others.

    They are computed once, in the model's own type (`torch.nn.utils.parametrize`); the copy has no gradients for them.
    """
    copied = copy.deepcopy(model).eval()
    for layer in [layer for layer in copied.modules() if parametrize.is_parametrized(layer)]:
        # Not by `remove_parametrizations`, which takes the weights from the original too: a copy shares its class.
        weights = {
            name: getattr(layer, name).detach() for name, _ in layer.get_submodule("parametrizations").named_children()
        }
        layer.__class__ = parametrize.type_before_parametrizations(layer)
        del layer.parametrizations
        for name, weight in weights.items():
            layer.register_parameter(name, nn.Parameter(weight))
    return copied.requires_grad_(False)
