"""Networks with a flaw that hides adversarial examples from attacks, one class a flaw, around a trained network."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUALITY = 25  # of the JPEG tables, on MNIST and the digits visible but harmless
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


class Wrapped(nn.Module):
    """A network in another's forward pass."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's own, but for the flaw."""
        return self.network(inputs)


class ScaledLogits(Wrapped):
    """Logits a thousand times as large, as some temperatures leave them: the softmax rounds to 0 and 1."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits, times 1000."""
        return 1000 * self.network(inputs)


class QuantisedInputs(Wrapped):
    """Inputs rounded to eight levels (feature squeezing)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits of the rounded inputs."""
        return self.network((inputs * 7).round() / 7)


class NoisyInference(Wrapped):
    """Gaussian noise on the inputs at inference."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits of noisy inputs."""
        return self.network(inputs + 0.15 * torch.randn_like(inputs))


class DetachedGraph(Wrapped):
    """A forward pass whose first part is cut from the graph; a whisper of the inputs goes round it."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits, with hardly a gradient."""
        return self.network(inputs.detach() + 1e-3 * (inputs - inputs.detach()).flip(-1))


class CutGraph(Wrapped):
    """A forward pass under `no_grad`."""

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits, without a gradient."""
        with torch.no_grad():
            return self.network(inputs)


class SoftmaxOutput(Wrapped):
    """Probabilities of confident logits."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Probabilities."""
        return F.softmax(20 * self.network(inputs), dim=1)


class JPEG(Wrapped):
    """Blocks of 8x8 whose cosine coefficients are rounded, as JPEG does to luminance."""

    basis: Tensor
    table: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        frequency, place = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
        basis = torch.cos(math.pi * (2 * place + 1) * frequency / 16) / 2
        basis[0] /= math.sqrt(2)
        self.register_buffer("basis", basis)
        self.register_buffer("table", torch.tensor(LUMINANCE) * (50 / QUALITY) / 255)

    def forward(self, inputs: Tensor) -> Tensor:
        """The logits of the compressed images."""
        height, width = inputs.shape[-2:]
        padded = F.pad(inputs, (0, -width % 8, 0, -height % 8), mode="replicate")
        blocks = padded.unfold(2, 8, 8).unfold(3, 8, 8)
        coefficients = self.basis @ (blocks - 0.5) @ self.basis.T
        rounded = (coefficients / self.table).round() * self.table
        back = (self.basis.T @ rounded @ self.basis + 0.5).clamp(0, 1)
        images = back.transpose(3, 4).reshape(padded.shape)
        return self.network(images[..., :height, :width])


class KWinners(nn.Module):
    """An activation that keeps the largest tenth of an image's units (Xiao et al. 2020, 1905.10510)."""

    def forward(self, units: Tensor) -> Tensor:
        """The units that win, the others zero."""
        flat = units.flatten(1)
        kept = max(1, flat.shape[1] // 10)
        least = flat.topk(kept, dim=1).values[:, -1].view(-1, *[1] * (units.dim() - 1))
        return units * (units >= least)


class AlwaysTraining(nn.Module):
    """A ReLU with dropout behind it, on maps batch normalisation too, that no `eval()` reaches."""

    def forward(self, units: Tensor) -> Tensor:
        """Maps normalised by the batch's own statistics, a fifth of the units dropped."""
        units = units.relu()
        if units.dim() == 4:
            units = F.batch_norm(units, None, None, training=True)
        return F.dropout(units, 0.2, training=True)


def with_activation(network: nn.Module, activation: Callable[[], nn.Module]) -> nn.Module:
    """Every ReLU replaced: such a network has to be trained so."""
    for name, module in network.named_children():
        if isinstance(module, nn.ReLU):
            setattr(network, name, activation())
    return network


# What is put around a network that was trained without the flaw.
FLAWS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "scaled logits": ScaledLogits,
    "quantised inputs": QuantisedInputs,
    "noise at inference": NoisyInference,
    "detached graph": DetachedGraph,
    "cut graph": CutGraph,
    "softmax output": SoftmaxOutput,
    "JPEG": JPEG,
}
# What a network is trained with.
TRAINED_FLAWS: dict[str, Callable[[], nn.Module]] = {
    "k-winners-take-all": KWinners,
    "training mode": AlwaysTraining,
}
