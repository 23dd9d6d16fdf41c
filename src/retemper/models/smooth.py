"""Swapping the rectifiers of a network for a smooth activation, its weights untouched."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from torch import nn

from retemper.errors import ModelError
from retemper.models.networks import Network
from retemper.models.silu import SiLU

# What SiLU can stand in for. Not nn.PReLU, which would leave a learnt slope behind.
RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU)


def smooth(model: nn.Module) -> int:
    """Swap, in place, every rectifier for SiLU: retrain the network afterwards, since its weights knew the rectifiers.

    Rectifiers are `nn.ReLU`, `nn.ReLU6`, `nn.LeakyReLU` and `nn.RReLU`, these types alone: a class derived from one
    may compute anything. All else stays: `nn.PReLU`, since its slope is a weight, and rectifiers that are functions
    inside a `forward` (`F.relu`), which cannot be seen. Layers and weights keep their names; a module that is used in
    several places is one module afterwards, too. Hooks on a rectifier go with it.

    A network of this package is saved and loaded as what it has become. For another one the file says that it has been
    swapped, and `load` swaps what its factory builds.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> smooth(model), model[1]
    (1, SiLU())

    Returns:
        How many modules were swapped.

    Raises:
        ModelError: there is none inside the model.
    """
    places = rectifiers(model)
    if not places:
        raise ModelError(_none_in(model))
    swapped = {module: SiLU().train(module.training) for module in places.values()}
    for name, module in places.items():
        model.set_submodule(name, swapped[module])
    for layer in fused(model):
        if isinstance(layer.activation, SiLU):
            layer.activation_relu_or_gelu = 0
    for network in model.modules():
        if isinstance(network, Network):
            network.spec = replace(network.spec, activation="silu")
    return len(swapped)


@contextmanager
def smooth_unless_it_fails(model: nn.Module) -> Iterator[None]:
    """`smooth`, and the rectifiers again where the block raises: what is called once more finds what it found before.

    Raises:
        ModelError: there is none inside the model.
    """
    places = rectifiers(model)
    specs = {network: network.spec for network in model.modules() if isinstance(network, Network)}
    kernels = {layer: layer.activation_relu_or_gelu for layer in fused(model)}
    smooth(model)
    try:
        yield
    except BaseException:
        for name, module in places.items():
            model.set_submodule(name, module)
        for layer, kernel in kernels.items():
            layer.activation_relu_or_gelu = kernel
        for network, spec in specs.items():
            network.spec = spec
        raise


def rectifiers(model: nn.Module) -> dict[str, nn.Module]:
    """What `smooth` would swap, by name; a module in several places is there several times."""
    modules = model.named_modules(remove_duplicate=False)
    return {name: module for name, module in modules if name and type(module) in RECTIFIERS}


def fused(model: nn.Module) -> list[nn.TransformerEncoderLayer]:
    """Layers that chose a fused kernel, activation and all, when they were built; 0 says that there is none."""
    return [module for module in model.modules() if isinstance(module, nn.TransformerEncoderLayer)]


def is_smooth(model: nn.Module) -> bool:
    """Whether it could have come out of `smooth`: SiLU inside, and no rectifier."""
    return not rectifiers(model) and any(type(module) is SiLU for module in model.modules())


def _none_in(model: nn.Module) -> str:
    if isinstance(model, Network) and model.spec.name == "lipschitz-cnn":
        return (
            "The network 'lipschitz-cnn' has MaxMin after every layer, which keeps the certificates tight, and nothing "
            "to swap; train it without `smooth`."
        )
    known = ", ".join(f"nn.{kind.__name__}" for kind in RECTIFIERS)
    return (
        f"Expected a model with rectifiers as modules inside ({known}) to swap for SiLU, but {type(model).__name__} "
        "has none. Those called as functions inside `forward` (F.relu) cannot be seen from outside: make them modules. "
        "A network that is smooth already is trained without `smooth`."
    )
