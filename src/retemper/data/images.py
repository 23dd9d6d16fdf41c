"""From encoded images to pixels."""

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from retemper.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = UInt8[Tensor, "images channels height width"]

_GREY = {"1", "L", "LA", "La"}
_BYTES = {"P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
_ORIENTATION = 0x0112  # the EXIF tag by which cameras say how to turn the image


def open_image(content: bytes, where: str) -> "Image":
    """Decode one image file, turned upright."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        image = Image.open(BytesIO(content))
        image.load()
        upright = image.getexif().get(_ORIENTATION, 1) == 1
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = "no known image format" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{where} cannot be decoded ({reason}); replace the image or leave it out.") from error
    if upright:
        return image
    turned = ImageOps.exif_transpose(image)
    turned.format = image.format
    return turned


def read_image(record: Mapping[str, object] | None, where: str) -> "Image":
    """Decode what `datasets` keeps of an image: its bytes, or the path of its file."""
    content, path = (record or {}).get("bytes"), (record or {}).get("path")
    if isinstance(content, bytes):
        return open_image(content, where)
    if not isinstance(path, str):
        raise DataError(f"{where} is missing; leave the row out.")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{where} cannot be read ({error}).") from error
    return open_image(content, f"{where} ({path})")


def stack_images(images: Iterable["Image"], count: int, where: str) -> tuple[Pixels, bool]:
    """Put `count` images into one tensor; one colour image makes all of them colour.

    Returns:
        The pixels, with 1 channel if all images are grey and 3 (RGB) otherwise; and whether any of the
        images came from a JPEG file.
    """
    pixels = np.empty((0, 0, 0, 0), np.uint8)
    jpeg = False
    for index, image in enumerate(images):
        values = _pixels(image, f"image {index} of {where}")
        if index == 0:
            pixels = np.empty((count, *values.shape), np.uint8)
        if values.shape[1:] != pixels.shape[2:]:
            height, width = pixels.shape[2:]
            raise DataError(
                f"Expected images of one size in {where}, but image 0 is {width}x{height} and image {index} "
                f"is {image.width}x{image.height} (width x height); resize them to one size first."
            )
        if len(values) > pixels.shape[1]:
            pixels = np.repeat(pixels, 3, axis=1)
        pixels[index] = values
        jpeg = jpeg or image.format in ("JPEG", "MPO")
    return torch.from_numpy(pixels), jpeg


def match_channels(splits: Mapping[str, Pixels]) -> dict[str, Pixels]:
    """Make grey splits colour if another split is."""
    channels = max(pixels.shape[1] for pixels in splits.values())
    return {
        role: pixels.expand(-1, channels, -1, -1).contiguous() if 1 == pixels.shape[1] < channels else pixels
        for role, pixels in splits.items()
    }


def _pixels(image: "Image", where: str) -> UInt8[np.ndarray, "channels height width"]:
    if image.mode in _GREY:
        return np.asarray(_as(image, "L"))[None]
    if image.mode not in _BYTES:
        raise DataError(f"Expected 8 bits a channel, but {where} has mode {image.mode!r}; convert it to 8 bits first.")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(_as(image, "RGB")).transpose(2, 0, 1)


def _as(image: "Image", mode: str) -> "Image":
    # Pillow copies an image that has the mode already.
    return image if image.mode == mode else image.convert(mode)
