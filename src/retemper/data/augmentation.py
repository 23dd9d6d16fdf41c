"""Random changes to a batch of training images that leave their classes as they are."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from retemper.errors import SettingError

Images = Float[Tensor, "images channels height width"]
Augmentation = Callable[[Images, torch.Generator | None], Images]


def crop_and_flip(
    inputs: Images, generator: torch.Generator | None, *, padding: int | None = None, flip: bool = True
) -> Images:
    """Shift each image at random within a border of zeros, and mirror half of them left to right.

    The usual augmentation for CIFAR-10 (He et al. 2016, section 4.2).

    Args:
        inputs: A batch on any device.
        generator: Where all randomness comes from, on any device; None for PyTorch's own.
        padding: Width of the border; None for an eighth of the height (4 for 32x32), at least 0.
        flip: Whether to mirror.

    Raises:
        SettingError: the inputs are no images, or the padding is negative.
    """
    if inputs.ndim != 4:
        raise SettingError(
            "Expected images (N, C, H, W) to crop and flip, but got "
            f"shape {tuple(inputs.shape)}; choose the augmentation 'none' for vectors."
        )
    count, _, height, width = inputs.shape
    padding = height // 8 if padding is None else padding
    if padding < 0:
        raise SettingError(f"Expected `padding` of 0 or more, but got {padding}.")
    device = generator.device if generator is not None else inputs.device

    def draw(values: int) -> Tensor:
        return torch.randint(values, (count, 1), generator=generator, device=device).to(inputs.device)

    rows = torch.arange(height, device=inputs.device) + draw(2 * padding + 1)
    columns = torch.arange(width, device=inputs.device) + draw(2 * padding + 1)
    if flip:
        columns = torch.where(draw(2) == 1, columns.flip(1), columns)
    padded = torch.nn.functional.pad(inputs, (padding, padding, padding, padding))
    images = torch.arange(count, device=inputs.device)[:, None, None]
    # Indices before and after the slice of channels put the channels last.
    return padded[images, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).contiguous()


def _unchanged(inputs: Images, generator: torch.Generator | None) -> Images:
    return inputs


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": _unchanged,
    "crop": partial(crop_and_flip, flip=False),
    "flip": partial(crop_and_flip, padding=0),
    "crop-and-flip": crop_and_flip,
}
"""The augmentations that training can choose by name."""
