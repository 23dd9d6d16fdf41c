from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from retemper.data.images import match_channels, open_image, read_image, stack_images
from retemper.errors import DataError

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (4, 5, 3), dtype=np.uint8)
GREYS = RANDOM.integers(0, 256, (4, 5), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_modes_have_one_channel(mode: str) -> None:
    image = Image.fromarray(GREYS).convert(mode)
    pixels, _ = stack_images([image], 1, "x")
    np.testing.assert_array_equal(pixels[0, 0].numpy(), np.asarray(image.convert("L")))
    assert pixels.shape == (1, 1, 4, 5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colour_modes_have_three_channels(mode: str) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    pixels, _ = stack_images([image], 1, "x")
    np.testing.assert_array_equal(pixels[0].numpy(), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_palette_with_transparency_is_read_without_a_warning() -> None:
    image = Image.fromarray(COLOURS).convert("P")
    content = encoded(image, transparency=bytes(range(200)))
    pixels, _ = stack_images([open_image(content, "x")], 1, "x")
    np.testing.assert_array_equal(pixels[0].numpy(), np.asarray(image.convert("RGB")).transpose(2, 0, 1))


@pytest.mark.parametrize("colour_at", [0, 1, 2])
def test_one_colour_image_makes_all_colour(colour_at: int) -> None:
    images = [Image.fromarray(COLOURS if index == colour_at else GREYS) for index in range(3)]
    pixels, _ = stack_images(images, 3, "x")
    for index, values in enumerate(pixels.numpy()):
        expected = COLOURS.transpose(2, 0, 1) if index == colour_at else np.stack([GREYS] * 3)
        np.testing.assert_array_equal(values, expected)


def test_grey_split_follows_a_colour_one() -> None:
    grey, colour = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.ones(2, 3, 4, 4, dtype=torch.uint8)
    matched = match_channels({"train": grey, "test": colour})
    assert torch.equal(matched["train"], grey.repeat(1, 3, 1, 1))
    assert matched["test"] is colour
    assert match_channels({"train": grey})["train"] is grey


@pytest.mark.parametrize(("kind", "lossy"), [("PNG", False), ("BMP", False), ("JPEG", True)])
def test_jpeg_is_told_from_the_bytes(kind: str, lossy: bool) -> None:
    image = open_image(encoded(Image.fromarray(COLOURS), kind), "x")
    assert stack_images([Image.fromarray(COLOURS), image], 2, "x")[1] is lossy


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_images_are_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    image = open_image(encoded(Image.new("L", (5, 4)), kind, exif=exif), "x")
    assert image.size == (4, 5)
    assert image.format == kind


def test_records_hold_bytes_or_a_path(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(COLOURS))
    (tmp_path / "1.png").write_bytes(content)
    for record in (
        {"bytes": content, "path": "nowhere.png"},
        {"bytes": None, "path": str(tmp_path / "1.png")},
    ):
        np.testing.assert_array_equal(np.asarray(read_image(record, "x")), COLOURS)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "Image 3 is missing"),
        ({"bytes": None, "path": None}, "Image 3 is missing"),
        ({"bytes": None, "path": "/nowhere/1.png"}, "Image 3 cannot be read .*nowhere"),
        ({"bytes": b"text", "path": None}, "Image 3 cannot be decoded .no known image format"),
        ({"bytes": encoded(Image.fromarray(COLOURS))[:60], "path": None}, "Image 3 cannot be decoded"),
        (
            {"bytes": encoded(Image.fromarray(COLOURS), "JPEG")[:-20], "path": None},
            "Image 3 cannot be decoded .*trunc",
        ),
    ],
)
def test_images_that_cannot_be_read_are_refused(record: dict[str, object] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_image(record, "Image 3")


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_eight_bits_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=f"image 0 of x has mode '{mode}'"):
        stack_images([Image.new(mode, (4, 4))], 1, "x")


def test_two_sizes_are_named() -> None:
    with pytest.raises(DataError, match=r"image 0 is 5x4 and image 1 is 4x5 .* resize"):
        stack_images([Image.new("L", (5, 4)), Image.new("L", (4, 5))], 2, "x")


def test_an_orientation_that_cannot_be_read_is_an_error_that_names_the_image() -> None:
    written = BytesIO()
    Image.new("RGB", (4, 4)).save(written, "png", exif=b"Exif\0\0no tiff at all")
    with pytest.raises(DataError, match=r"cat\.png cannot be decoded"):
        open_image(written.getvalue(), "cat.png")
