"""Adversarial examples as pictures: the original, what the attack made of it, and the difference."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from retemper.evaluation import Example
from retemper.threats import L2, Linf

_SHOWN = 120  # how wide a picture may be made on the page, in CSS pixels: eight fit side by side
_FACTORS = (1000.0, 500.0, 200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0)


@dataclass(frozen=True)
class Strip:
    """One adversarial example, ready to be shown.

    Attributes:
        index: of the test image.
        label: the true class by name.
        predicted: the wrong class by name.
        original: a PNG as data URI, as are the next two.
        adversarial: what the attack found.
        difference: adversarial minus original, magnified; mid-grey where nothing changed.
        width: on the page, in CSS pixels: the image's own times a whole number.
        height: likewise.
        linf: the largest change of one value.
        l2: the length of the whole change.
    """

    index: int
    label: str
    predicted: str
    original: str
    adversarial: str
    difference: str
    width: int
    height: int
    linf: float
    l2: float


def is_image(example: Example) -> bool:
    """Whether the input is a picture of one or three channels."""
    return example.original.dim() == 3 and example.original.shape[0] in (1, 3)


def magnification(examples: Iterable[Example]) -> float:
    """The factor for the differences of all examples: the largest of 1, 2, 5, 10, 20 ... that cuts none off.

    A change of more than half the range is cut off even at 1.
    """
    largest = max((float((example.adversarial - example.original).abs().max()) for example in examples), default=0.0)
    # Rounding may carry a change of 0.05 just above it; a cut of one hundredth cannot be seen.
    fitting = [factor for factor in _FACTORS if 0 < factor * largest <= 0.5 * 1.01]
    return fitting[0] if fitting else 1.0


def strip(example: Example, classes: Sequence[str], factor: float) -> Strip:
    """Picture one example of an image in [0, 1]."""
    original, adversarial = example.original, example.adversarial
    height, width = original.shape[1:]
    scale = max(1, _SHOWN // width)
    return Strip(
        index=example.index,
        label=classes[example.label],
        predicted=classes[example.predicted],
        original=_png(original),
        adversarial=_png(adversarial),
        difference=_png(0.5 + factor * (adversarial - original)),
        width=width * scale,
        height=height * scale,
        linf=float(Linf(1).distance(adversarial[None], original[None])),
        l2=float(L2(1).distance(adversarial[None], original[None])),
    )


def _png(image: Float[Tensor, "channels height width"]) -> str:
    from PIL import Image

    values = (image.double().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(values[..., 0] if values.shape[2] == 1 else values))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
