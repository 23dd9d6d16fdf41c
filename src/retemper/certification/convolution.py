"""How much a convolution can lengthen a vector: a bound for any image size, with zeros around it or its other side."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from retemper.errors import ModelError

GRID = 64  # frequencies along each axis
ENOUGH = 1.001  # a bound that nothing could better by more

Kernel = Float[Tensor, "groups outputs inputs height width"]


def convolution_bound(layer: nn.Conv2d) -> float:
    """An upper bound of the largest singular value of a convolution, out of its weights alone.

    On an image of any size with zeros around it, the layer is a part of the convolution of an endless image, whose
    norm is the largest of its transfer matrices over all frequencies. One that wraps around is that at some of the
    frequencies. A stride s is a convolution of stride 1 on s x s times as many channels.

    Raises:
        ModelError: it pads with something else than zeros, or wraps around by more than its kernel.
    """
    dilated = _dilated(layer.weight.detach().double(), layer.dilation)
    kernel: Kernel = dilated.unflatten(0, (layer.groups, -1))
    if layer.padding_mode == "circular":
        for size, sides in zip(dilated.shape[2:], _padding(layer), strict=True):
            if sum(sides) > size - 1:
                raise ModelError(f"Expected circular padding of at most the kernel's size less one, but got {layer}.")
        # Without its stride it computes all that it computes and more.
    elif layer.padding_mode == "zeros":
        kernel = _strideless(kernel, layer.stride)
    else:
        raise ModelError(
            f"Expected a convolution that pads with zeros or wraps around, but got {layer.padding_mode!r} in {layer}."
        )
    taps = by_taps(kernel)
    # No bound is below the root mean square of the singular values, which orthogonal kernels reach.
    least = math.sqrt(float(kernel.square().sum((1, 2, 3, 4)).max()) / min(kernel.shape[1:3]))
    return taps if taps <= ENOUGH * least else min(taps, by_frequencies(kernel))


def by_frequencies(kernel: Kernel) -> float:
    """The largest singular value over a grid of frequencies, and what there may be between them.

    Along one axis, between fixed unit vectors, the squared response is a trigonometric polynomial g >= 0 of degree
    d = taps - 1. Near its largest value M it falls no faster than M cos^2(d t / 2) at a distance of t (M. Riesz's
    lemma, for g - M / 2), and the grid comes as near as t = pi / points.
    """
    _, outputs, inputs, height, width = kernel.shape
    points = GRID * math.ceil(max(height, width) / 16)  # so that d t / 2 stays far below pi / 2
    largest = 0.0
    for rows in torch.fft.rfft(kernel, n=points).unbind(-1):  # the other half of the frequencies is conjugate
        transfer = torch.fft.fft(rows, n=points).movedim(-1, 1)
        gram = transfer @ transfer.mH if outputs <= inputs else transfer.mH @ transfer
        largest = max(largest, float(torch.linalg.eigvalsh(gram)[..., -1].max()))
    between = [math.cos((taps - 1) * math.pi / (2 * points)) for taps in (height, width)]
    return math.sqrt(largest) / math.prod(between)


def by_taps(kernel: Kernel) -> float:
    """The root of the largest row sum of |K* K|, the kernel correlated with itself; exact if it is orthogonal.

    A symmetric operator lengthens nothing by more than its largest row sum of absolute values: what AOL divides by
    (Prach & Lampert 2022, 2208.03160). K K* has the same norm as K* K.
    """
    return math.sqrt(max(min(_row_sum(group), _row_sum(group.transpose(0, 1))) for group in kernel))


def _row_sum(kernel: Float[Tensor, "channels others height width"]) -> float:
    height, width = kernel.shape[-2:]
    correlation = F.conv2d(kernel, kernel, padding=(height - 1, width - 1))
    return float(correlation.abs().sum((1, 2, 3)).max())


def _dilated(weight: Tensor, dilation: tuple[int, ...]) -> Tensor:
    """The kernel with zeros between its taps."""
    if tuple(dilation) == (1, 1):
        return weight
    height, width = ((taps - 1) * step + 1 for taps, step in zip(weight.shape[2:], dilation, strict=True))
    dilated = weight.new_zeros(*weight.shape[:2], height, width)
    dilated[:, :, :: dilation[0], :: dilation[1]] = weight
    return dilated


def _strideless(kernel: Tensor, stride: tuple[int, ...]) -> Tensor:
    """The kernel of stride 1 on an image whose blocks of `stride` pixels have become channels."""
    (rows, columns), (height, width) = stride, kernel.shape[-2:]
    padded = F.pad(kernel, (0, -width % columns, 0, -height % rows))
    blocks = padded.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
    return blocks.permute(0, 1, 2, 4, 6, 3, 5).flatten(2, 4)


def _padding(layer: nn.Conv2d) -> list[tuple[int, int]]:
    """What is added before and after, along each axis."""
    if layer.padding == "valid":
        return [(0, 0), (0, 0)]
    if isinstance(layer.padding, str):  # "same"
        added = [step * (taps - 1) for step, taps in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [(sides // 2, sides - sides // 2) for sides in added]
    return [(sides, sides) for sides in layer.padding]
