"""Pre-activation residual networks: normalisation and activation stand before each convolution."""

from collections import OrderedDict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

STAGES = (1, 2, 4, 8)  # channels, in multiples of the width, each at half the resolution of those before


class PreActivationBlock(nn.Module):
    """The input plus what two 3x3 convolutions make of it (He et al. 2016, 1603.05027).

    Where resolution or channels change, the input is carried by a 1x1 convolution: the input itself and not its
    activation, as in the code of Wong et al. 2020 (2001.03994); implementations differ.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.norm1_act = activation()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.norm2_act = activation()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, inputs: Float[Tensor, "images channels *shape"]) -> Float[Tensor, "images outputs *smaller"]:
        """Pass a batch on."""
        inner = self.conv1(self.norm1_act(self.norm1(inputs)))
        return self.conv2(self.norm2_act(self.norm2(inner))) + self.shortcut(inputs)


class PreActResNet18:
    """Builds the network `preact-resnet18` for small images: a 3x3 convolution first, and no pooling after it.

    Four stages of two blocks; then batch normalisation and an activation once more, and the mean over the map, as in
    the code of Wong et al. 2020 (2001.03994), whose width is 64. In training mode batch normalisation needs more than
    one image where the last map, an eighth of the input, is a single pixel.
    """

    def __init__(self, shape: Sequence[int], activation: type[nn.Module], width: int) -> None:
        self.layers: OrderedDict[str, nn.Module] = OrderedDict()
        self.layers["conv"] = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        channels = width
        for stage, multiple in enumerate(STAGES, 1):
            for place in ("a", "b"):
                stride = 2 if stage > 1 and place == "a" else 1
                self.layers[f"block{stage}{place}"] = PreActivationBlock(channels, multiple * width, stride, activation)
                channels = multiple * width
        self.layers["norm"] = nn.BatchNorm2d(channels)
        self.layers["norm_act"] = activation()
        self.layers["pool"] = nn.AdaptiveAvgPool2d(1)
        self.layers["flatten"] = nn.Flatten()
        self.features = channels

    def logits(self, classes: int) -> "OrderedDict[str, nn.Module]":
        """The layers with the last one added."""
        self.layers["logits"] = nn.Linear(self.features, classes)
        return self.layers
