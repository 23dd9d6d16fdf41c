import pytest
import torch
from torch import Tensor

from retemper.data.augmentation import AUGMENTATIONS, crop_and_flip
from retemper.errors import SettingError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator(1)) + 0.5  # no pixel is zero, as the border is


def every_view(image: Tensor, padding: int, *, flip: bool) -> list[Tensor]:
    """All that a plain crop and flip of one (C, H, W) image can give."""
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding)
    padded[:, padding : padding + height, padding : padding + width] = image
    views = []
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + height, left : left + width]
            views += [crop, crop.flip(2)] if flip else [crop]
    return views


@pytest.mark.parametrize("flip", [True, False])
def test_each_image_is_one_of_its_crops_and_flips_and_all_occur(flip: bool) -> None:
    batch = images(1, 2, 4, 5).expand(600, -1, -1, -1)
    views = every_view(batch[0], 1, flip=flip)
    augmented = crop_and_flip(batch, generator(), padding=1, flip=flip)
    assert augmented.shape == batch.shape
    assert augmented.is_contiguous()
    matches = [[torch.equal(image, view) for view in views] for image in augmented]
    assert all(sum(row) == 1 for row in matches)
    counts = [sum(column) for column in zip(*matches, strict=True)]
    assert min(counts) > 0.3 * 600 / len(views)


def test_images_of_a_batch_keep_their_places() -> None:
    batch = images(30, 3, 6, 6)
    for image, augmented in zip(batch, crop_and_flip(batch, generator(), padding=2), strict=True):
        assert any(torch.equal(augmented, view) for view in every_view(image, 2, flip=True))


def test_generator_alone_decides() -> None:
    batch = images(20, 1, 8, 8)
    state = torch.random.get_rng_state()
    first = crop_and_flip(batch, generator(5))
    torch.rand(7)
    torch.random.set_rng_state(state)
    again, other = crop_and_flip(batch, generator(5)), crop_and_flip(batch, generator(6))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_a_generator_the_seed_of_torch_decides() -> None:
    batch = images(20, 1, 8, 8)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = crop_and_flip(batch, None)
        torch.manual_seed(3)
        assert torch.equal(first, crop_and_flip(batch, None))


@pytest.mark.parametrize(("height", "padding"), [(32, 4), (28, 3), (8, 1), (7, 0)])
def test_padding_is_an_eighth_of_the_height(height: int, padding: int) -> None:
    batch = images(5, 1, height, height)
    assert torch.equal(crop_and_flip(batch, generator()), crop_and_flip(batch, generator(), padding=padding))


def test_input_is_left_alone() -> None:
    batch = images(5, 1, 8, 8)
    before = batch.clone()
    crop_and_flip(batch, generator())
    assert torch.equal(batch, before)


def test_registry_offers_shifts_and_mirrors_alone_and_together() -> None:
    batch = images(9, 1, 8, 8)
    assert set(AUGMENTATIONS) == {"none", "crop", "flip", "crop-and-flip"}
    assert torch.equal(AUGMENTATIONS["none"](batch, generator()), batch)
    assert torch.equal(AUGMENTATIONS["crop"](batch, generator()), crop_and_flip(batch, generator(), flip=False))
    assert torch.equal(AUGMENTATIONS["flip"](batch, generator()), crop_and_flip(batch, generator(), padding=0))
    assert torch.equal(AUGMENTATIONS["crop-and-flip"](batch, generator()), crop_and_flip(batch, generator()))


def test_vectors_and_negative_padding_are_refused() -> None:
    with pytest.raises(SettingError, match=r"shape \(3, 4\); choose the augmentation 'none'"):
        crop_and_flip(torch.rand(3, 4), None)
    with pytest.raises(SettingError, match="0 or more, but got -1"):
        crop_and_flip(images(1, 1, 4, 4), None, padding=-1)
