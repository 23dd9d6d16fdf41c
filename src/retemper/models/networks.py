"""The networks by name: the entropic paper's, those of other papers, a small CNN, an MLP, a 1-Lipschitz CNN."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from retemper.errors import ModelError, SettingError
from retemper.models.lipschitz import LipschitzCNN
from retemper.models.normalise import Normalise
from retemper.models.preact_resnet import PreActResNet18
from retemper.models.silu import SiLU

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": SiLU,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "leaky-relu": nn.LeakyReLU,
}


@dataclass(frozen=True)
class Spec:
    """All that it takes to build a network again: saved beside its weights."""

    name: str
    shape: tuple[int, ...]
    classes: int
    activation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Network(nn.Sequential):
    """A network of this package: named layers in a row, the first of them `normalise`, and its `spec`."""

    def __init__(self, spec: Spec, layers: "OrderedDict[str, nn.Module]") -> None:
        super().__init__(OrderedDict(normalise=Normalise(spec.mean, spec.std), **layers))
        self.spec = spec


class _Headless(Protocol):
    def logits(self, classes: int) -> "OrderedDict[str, nn.Module]": ...


class _Builder:
    """Adds layers one after another and follows the shape, so that no width is worked out by hand."""

    def __init__(self, shape: tuple[int, ...], activation: type[nn.Module]) -> None:
        self.shape, self.activation = shape, activation
        self.layers: OrderedDict[str, nn.Module] = OrderedDict()
        self.convolutions = self.pools = self.denses = 0

    def convolution(self, filters: int, kernel: int = 3, *, padded: bool = True) -> "_Builder":
        channels, height, width = self.shape
        # A map smaller than the kernel has to be padded: so every network takes every input size.
        padding = kernel // 2 if padded or min(height, width) < kernel else 0
        self.convolutions += 1
        self.layers[f"conv{self.convolutions}"] = nn.Conv2d(channels, filters, kernel, padding=padding)
        self.layers[f"conv{self.convolutions}_act"] = self.activation()
        lost = kernel - 1 - 2 * padding
        self.shape = (filters, height - lost, width - lost)
        return self

    def pool(self) -> "_Builder":
        channels, height, width = self.shape
        self.pools += 1
        # ceil_mode keeps a map of one pixel alive.
        self.layers[f"pool{self.pools}"] = nn.MaxPool2d(2, ceil_mode=True)
        self.shape = (channels, -(-height // 2), -(-width // 2))
        return self

    def flatten(self) -> "_Builder":
        self.layers["flatten"] = nn.Flatten()
        size = 1
        for length in self.shape:
            size *= length
        self.shape = (size,)
        return self

    def dense(self, *widths: int) -> "_Builder":
        for width in widths:
            self.denses += 1
            self.layers[f"dense{self.denses}"] = nn.Linear(self.shape[0], width)
            self.layers[f"dense{self.denses}_act"] = self.activation()
            self.shape = (width,)
        return self

    def logits(self, classes: int) -> "OrderedDict[str, nn.Module]":
        self.layers["logits"] = nn.Linear(self.shape[0], classes)
        return self.layers


def _entropic(build: _Builder, *, padded: bool) -> _Builder:
    for filters in (32, 64):
        build.convolution(filters, padded=padded).convolution(filters, padded=padded).pool()
    return build.flatten().dense(512, 256, 128, 128, 84)


NETWORKS: dict[str, Callable[[_Builder], _Headless]] = {
    # Sperl & Böttinger 2020 (2008.03072) give the widths; 3x3 kernels, padding and ReLU are ours.
    "entropic-cnn": lambda build: _entropic(build, padded=True),
    "entropic-cnn-unpadded": lambda build: _entropic(build, padded=False),
    # LeCun et al. 1998, with max-pooling and full connections between the feature maps, as is usual now.
    "lenet5": lambda build: (
        build.convolution(6, 5).pool().convolution(16, 5, padded=False).pool().flatten().dense(120, 84)
    ),
    # Madry et al. 2018 (1706.06083), their network for MNIST.
    "madry-cnn": lambda build: build.convolution(32, 5).pool().convolution(64, 5).pool().flatten().dense(1024),
    "small-cnn": lambda build: build.convolution(16).pool().convolution(32).pool().flatten().dense(64),
    "mlp": lambda build: build.flatten().dense(256, 128),
    # He et al. 2016 (1603.05027), as Wong et al. 2020 (2001.03994) have it for CIFAR-10. A fourth of the width is ours.
    "preact-resnet18": lambda build: PreActResNet18(build.shape, build.activation, width=64),
    "preact-resnet18-small": lambda build: PreActResNet18(build.shape, build.activation, width=16),
    "lipschitz-cnn": lambda build: LipschitzCNN(build.shape),
}


def create(
    name: str,
    *,
    shape: Sequence[int],
    classes: int,
    activation: str = "relu",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Network:
    """Build a network by name, with fresh weights from torch's global generator.

    Args:
        name: a key of `NETWORKS`.
        shape: of one input: (C, H, W), or (D,) for the `mlp`.
        classes: how many logits, two or more.
        activation: a key of `ACTIVATIONS`; `lipschitz-cnn` has its own.
        mean: one number, or one a channel, subtracted from the inputs first.
        std: as many, divided by next.

    >>> create("lenet5", shape=(1, 28, 28), classes=10).conv2
    Conv2d(6, 16, kernel_size=(5, 5), stride=(1, 1))

    Raises:
        SettingError: an unknown name or activation, fewer than two classes, or a mean for other channels.
        ModelError: a convolutional network is asked to take vectors.
    """
    if name not in NETWORKS:
        raise SettingError(
            f"Expected `name` to be one of {', '.join(NETWORKS)}, but got {name!r}; "
            "your own network goes by package.module:factory."
        )
    if activation not in ACTIVATIONS:
        raise SettingError(f"Expected `activation` to be one of {', '.join(ACTIVATIONS)}, but got {activation!r}.")
    if name == "lipschitz-cnn" and activation != "relu":
        raise SettingError(f"The network 'lipschitz-cnn' has MaxMin after every layer, but got {activation!r}.")
    if classes < 2:
        raise SettingError(f"Expected two or more classes, but got {classes}.")
    if len(mean) not in (1, shape[0]):
        raise SettingError(f"Expected one mean or one for each of {shape[0]} channels, but got {len(mean)}.")
    if name != "mlp" and len(shape) != 3:
        raise ModelError(
            f"The network {name!r} takes images of shape (channels, height, width), but the inputs have shape "
            f"{tuple(shape)}; use 'mlp'."
        )
    spec = Spec(name, tuple(shape), classes, activation, tuple(mean), tuple(std))
    layers = NETWORKS[name](_Builder(spec.shape, ACTIVATIONS[activation])).logits(classes)
    return Network(spec, layers)
