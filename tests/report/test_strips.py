import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from retemper.evaluation import Example
from retemper.report.strips import is_image, magnification, strip

GREY = 128
CLASSES = ("cat", "dog")


def _example(original: torch.Tensor, adversarial: torch.Tensor) -> Example:
    return Example(index=3, label=0, predicted=1, original=original, adversarial=adversarial)


def _pixels(uri: str) -> np.ndarray:
    head, content = uri.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def _moved(channels: int, by: float) -> Example:
    original = torch.full((channels, 4, 6), 0.4)
    adversarial = original.clone()
    adversarial[0, 1, 2] += by
    adversarial[-1, 3, 5] -= by
    return _example(original, adversarial)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_difference_is_grey_where_nothing_changed_and_magnified_where_it_did(channels: int) -> None:
    shown = _pixels(strip(_moved(channels, 0.05), CLASSES, 5).difference).reshape(4, 6, channels)
    expected = np.full((4, 6, channels), GREY)
    expected[1, 2, 0] = round(255 * (0.5 + 5 * 0.05))
    expected[3, 5, channels - 1] = round(255 * (0.5 - 5 * 0.05))
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pictures_are_the_images_pixel_for_pixel(channels: int) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, channels, 4, 6), generator=generator)
    made = strip(_example(*(pixels / 255)), CLASSES, 1)
    for uri, image in zip((made.original, made.adversarial), pixels, strict=True):
        np.testing.assert_array_equal(_pixels(uri).reshape(4, 6, channels), image.permute(1, 2, 0).numpy())


def test_a_strip_says_what_was_taken_for_what_and_how_far_it_was_moved() -> None:
    made = strip(_moved(1, 0.03), CLASSES, 1)
    assert (made.index, made.label, made.predicted) == (3, "cat", "dog")
    assert made.linf == pytest.approx(0.03, rel=1e-5)
    assert made.l2 == pytest.approx(0.03 * 2**0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("by", "factor"), [(0.05, 10), (0.1, 5), (8 / 255, 10), (0.3, 1), (0.25, 2), (0.9, 1), (0.0, 1), (1e-9, 1000)]
)
def test_the_magnification_is_the_largest_round_one_that_cuts_nothing_off(by: float, factor: float) -> None:
    original = torch.zeros(1, 2, 2)
    assert magnification([_example(original, original), _example(original, original + by)]) == factor


def test_no_examples_are_magnified_once() -> None:
    assert magnification([]) == 1


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((1, 8, 8), (120, 120)), ((3, 32, 32), (96, 96)), ((3, 300, 200), (200, 300)), ((1, 10, 20), (120, 60))],
)
def test_images_are_enlarged_by_whole_numbers_and_keep_their_shape(
    shape: tuple[int, ...], shown: tuple[int, int]
) -> None:
    made = strip(_example(torch.zeros(shape), torch.zeros(shape)), CLASSES, 1)
    assert (made.width, made.height) == shown


@pytest.mark.parametrize(
    ("shape", "picture"), [((1, 4, 4), True), ((3, 4, 4), True), ((2, 4, 4), False), ((16,), False)]
)
def test_vectors_and_other_channels_are_no_pictures(shape: tuple[int, ...], picture: bool) -> None:
    assert is_image(_example(torch.zeros(shape), torch.zeros(shape))) is picture
