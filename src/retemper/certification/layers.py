"""How far each kind of layer can lengthen a difference of two inputs, in L2 and in evaluation mode."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from retemper.certification.convolution import convolution_bound
from retemper.errors import ModelError
from retemper.models.lipschitz import MaxMin
from retemper.models.normalise import Normalise
from retemper.models.silu import SiLU

Layer = Any  # each function below is called with the kind that it stands beside


def layer_bound(layer: nn.Module) -> float:
    """An upper bound of one layer's Lipschitz constant, out of the weights that it holds.

    Raises:
        ModelError: a kind of layer that is not known here, or one with a `forward` or hooks of its own.
    """
    kind = next((kind for kind in type(layer).__mro__ if kind in KNOWN), None)
    if kind is None or not runs_as(layer, kind):
        raise ModelError(
            f"No Lipschitz constant is known for {type(layer).__name__}. Known are, in nn.Sequential, without hooks or "
            f"methods overridden: {', '.join(sorted({known.__name__ for known in KNOWN}))}."
        )
    bound = KNOWN[kind](layer)
    if not math.isfinite(bound):
        raise ModelError(f"The Lipschitz constant of {layer} is not finite: its weights hold NaN or infinity.")
    return bound


def runs_as(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a layer computes what its kind does: nothing overridden, nothing patched, no hooks."""
    methods = ("forward", "_conv_forward", "__call__")
    same = all(getattr(type(layer), name, None) is getattr(kind, name, None) for name in methods)
    patched = any(name in vars(layer) for name in methods)
    return same and not patched and not layer._forward_hooks and not layer._forward_pre_hooks


def _linear(layer: Layer) -> float:
    return float(torch.linalg.matrix_norm(layer.weight.detach().double(), ord=2))


def _normalise(layer: Layer) -> float:
    return 1 / float(layer.std.double().abs().min())


def _batch_norm(layer: Layer) -> float:
    if layer.running_var is None:
        raise ModelError(f"{layer} mixes the images of a batch, so that it has no Lipschitz constant of its own.")
    factor = (layer.running_var.double() + layer.eps).rsqrt()
    return float((factor if layer.weight is None else factor * layer.weight.detach().double().abs()).max())


def _max_pool(layer: Layer) -> float:
    if layer.return_indices:
        raise ModelError(f"Expected a layer that returns a tensor, but {layer} returns indices too.")
    return _overlap(layer)


def _average_pool(layer: Layer) -> float:
    if layer.divisor_override is not None:
        raise ModelError(f"Expected pooling by the mean, but {layer} divides by another number.")
    # Windows cut off at the border may have one pixel.
    cut = layer.ceil_mode or (not layer.count_include_pad and any(_pair(layer.padding)))
    return _overlap(layer) / (1 if cut else math.sqrt(math.prod(_pair(layer.kernel_size))))


def _overlap(layer: Layer) -> float:
    """The root of how many windows one pixel can be in: each of them may take its whole change."""
    reach = [(size - 1) * step + 1 for size, step in zip(_pair(layer.kernel_size), _dilation(layer), strict=True)]
    return math.sqrt(math.prod(math.ceil(size / step) for size, step in zip(reach, _pair(layer.stride), strict=True)))


def _dilation(layer: Layer) -> tuple[int, int]:
    return _pair(getattr(layer, "dilation", 1))


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _softplus(layer: Layer) -> float:
    usual = layer.beta > 0 and layer.threshold > 0
    if not usual or math.log1p(math.exp(-layer.threshold)) / layer.beta > NO_JUMP:
        raise ModelError(f"{layer} jumps at its threshold, so that it has no Lipschitz constant.")
    return 1.0


def _isometry(_layer: Layer) -> float:
    return 1.0


NO_JUMP = 1e-8  # torch's own threshold makes one of 2e-9, less than a rounding in float32
KNOWN: dict[type[nn.Module], Callable[[Layer], float]] = {
    nn.Linear: _linear,
    nn.Conv2d: convolution_bound,
    Normalise: _normalise,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _average_pool,
    # Nothing is lengthened where entries are only moved, left out, sorted or surrounded by zeros.
    nn.Identity: _isometry,
    nn.Flatten: _isometry,
    nn.Dropout: _isometry,
    nn.Dropout2d: _isometry,
    nn.PixelShuffle: _isometry,
    nn.PixelUnshuffle: _isometry,
    nn.ZeroPad2d: _isometry,
    MaxMin: _isometry,
    # The steepest slope of each.
    nn.ReLU: _isometry,
    nn.Tanh: _isometry,
    nn.Sigmoid: lambda _layer: 0.25,
    nn.Softplus: _softplus,
    nn.LeakyReLU: lambda layer: max(1.0, abs(layer.negative_slope)),
    nn.ELU: lambda layer: max(1.0, abs(layer.alpha)),
    nn.SiLU: lambda _layer: 1.1,  # 1.0998
    SiLU: lambda _layer: 1.1,
    nn.GELU: lambda _layer: 1.13,  # 1.1289, and as much for its approximation by tanh
}
