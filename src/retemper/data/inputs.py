"""From arrays as people store them to inputs: (N, C, H, W) or (N, D), uint8 or floats in [0, 1]."""

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from retemper.errors import DataError

Inputs = Shaped[Tensor, " images *shape"]

_CHANNELS = (1, 3)


def inputs_of(array: Shaped[np.ndarray, " images *shape"], where: str) -> Inputs:
    """Check the values of an array and move its channels first.

    (N, H, W) gets a channel. Of four dimensions the channels are the one that is 1 or 3.

    Raises:
        DataError: values outside the range, NaN, or channels that cannot be told.
    """
    values = values_of(array, where)
    if values.ndim == 3:
        return values.unsqueeze(1)
    if values.ndim == 4:
        first, last = values.shape[1] in _CHANNELS, values.shape[3] in _CHANNELS
        if first == last:
            raise DataError(
                f"Expected images of {where} as (N, C, H, W) or (N, H, W, C) with C 1 or 3, but got shape "
                f"{tuple(values.shape)}, where {'either could' if first else 'neither can'} be the channels; "
                "pass a torch Dataset of (C, H, W) images instead."
            )
        return values.movedim(-1, 1).contiguous() if last else values
    return values


def values_of(array: Shaped[np.ndarray, " images *shape"], where: str) -> Inputs:
    """Check that an array holds bytes, or floats in [0, 1], and give it as a tensor of the same layout."""
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise DataError(
            f"Expected {where} as (N, D) vectors, (N, H, W) or (N, C, H, W) images, at least one, "
            f"but got shape {array.shape}."
        )
    # PyTorch takes neither a foreign byte order nor memory it must not write to.
    array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
    if array.dtype == np.uint8:
        return torch.from_numpy(array)
    if array.dtype.kind in "iu":
        return torch.from_numpy(_bytes_of(array, where))
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise DataError(f"Expected {where} to be uint8 or floats in [0, 1], but got {array.dtype}.")
    values = torch.from_numpy(array)
    low, high = (extreme.item() for extreme in values.aminmax())
    if not (low >= 0 and high <= 1):  # written so that NaN, which aminmax passes on, fails it too
        found = "NaN" if np.isnan(low) else f"values from {low:.6g} to {high:.6g}"
        raise DataError(
            f"Expected {where} to lie in [0, 1], but got {found}; scale it to [0, 1] and put any "
            "normalisation into the model."
        )
    # NumPy makes float64 of `x / 255` unasked, and models are float32.
    return values.float()


def _bytes_of(array: np.ndarray, where: str) -> np.ndarray:
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise DataError(
            f"Expected integers of {where} in 0..255, but got {low} to {high}; scale them to floats in "
            "[0, 1] and put any normalisation into the model."
        )
    if high <= 1:
        raise DataError(
            f"Expected {where} as bytes (0..255) or floats (0..1), but got {array.dtype} of only 0 and 1, "
            "which could be either; store it as uint8 or as float32."
        )
    return array.astype(np.uint8)
