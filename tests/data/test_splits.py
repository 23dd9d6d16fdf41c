import math

import numpy as np
import pytest
import torch

from retemper.data import Data, Split
from retemper.errors import DataError, SettingError


def bytes_split(count: int = 10) -> Split:
    inputs = torch.randint(256, (count, 3, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Split(inputs, torch.arange(count) % 2)


def data_of(split: Split, **changes: object) -> Data:
    return Data(**({"name": "x", "train": split, "validation": split, "test": split, "classes": ("a", "b")} | changes))


def test_bytes_become_float32_of_a_255th() -> None:
    split = bytes_split()
    inputs, labels = split.batch(slice(2, 5))
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, torch.tensor(split.inputs[2:5].numpy() / np.float32(255)))
    assert labels.tolist() == [0, 1, 0]


def test_arrays_are_refused_by_what_they_are() -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(DataError, match=r"`inputs` to be a tensor, but got ndarray; convert it with torch\.as_tensor"):
        Split(np.zeros((4, 3)), labels)  # type: ignore[arg-type]  # on purpose
    with pytest.raises(DataError, match="`labels` to be a tensor, but got list"):
        Split(torch.rand(4, 3), [0, 1, 2, 3])  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_floats_stay_as_they_are(dtype: torch.dtype) -> None:
    split = Split(torch.rand(4, 3, dtype=dtype), torch.zeros(4, dtype=torch.int64))
    assert torch.equal(split.batch(torch.tensor([3, 0]))[0], split.inputs[[3, 0]])
    assert split.batch(slice(None))[0].dtype == dtype


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_batches_give_everything_once_and_in_order(size: int) -> None:
    split = bytes_split()
    batches = list(split.batches(size))
    assert [len(labels) for _, labels in batches[:-1]] == [size] * (len(batches) - 1)
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), split.batch(slice(None))[0])
    assert torch.equal(torch.cat([labels for _, labels in batches]), split.labels)


def test_take_gives_the_first_and_at_most_all() -> None:
    split = bytes_split()
    assert torch.equal(split.take(3).inputs, split.inputs[:3])
    assert len(split.take(99)) == len(split) == 10


def test_to_moves_inputs_and_labels() -> None:
    moved = bytes_split().to("meta")
    assert moved.inputs.device.type == moved.labels.device.type == "meta"


@pytest.mark.parametrize("count", [0, -1])
def test_no_images_are_refused(count: int) -> None:
    with pytest.raises(SettingError, match=f"1 image or more, but got {count}"):
        bytes_split().take(count)
    with pytest.raises(SettingError, match=f"batch size of 1 or more, but got {count}"):
        next(bytes_split().batches(count))


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (torch.zeros(2, 3, dtype=torch.int32), torch.zeros(2, dtype=torch.int64), "but got torch.int32"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int64), r"of shape \(2,\)"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), r"2 labels .* of shape \(3,\)"),
        (torch.zeros(2, 3), torch.zeros(2), "int64, one an input, but got torch.float32"),
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), "at least one"),
    ],
)
def test_tensors_that_are_no_split_are_refused(inputs: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Split(inputs, labels)


def test_shape_is_that_of_one_input() -> None:
    assert data_of(bytes_split()).shape == (3, 4, 5)


def test_mean_and_std_agree_with_numpy_over_several_chunks() -> None:
    split = bytes_split(700)
    mean, std = data_of(split).mean_and_std()
    values = split.inputs.numpy() / 255
    np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std, values.std((0, 2, 3)), rtol=1e-6)


def test_vectors_have_one_mean_and_std() -> None:
    vectors = torch.rand(50, 7, dtype=torch.float64)
    mean, std = data_of(Split(vectors, torch.arange(50) % 2)).mean_and_std()
    assert len(mean) == len(std) == 1
    assert math.isclose(mean[0], vectors.mean().item(), rel_tol=1e-12)
    assert math.isclose(std[0], vectors.std(correction=0).item(), rel_tol=1e-12)


def test_constant_channel_has_std_one() -> None:
    inputs = torch.rand(301, 3, 2, 2)
    inputs[:, 1] = 0.1
    mean, std = data_of(Split(inputs, torch.arange(301) % 2)).mean_and_std()
    assert std[1] == 1.0
    assert 0 < std[0] < 1
    assert math.isclose(mean[1], 0.1, rel_tol=1e-6)


def test_fingerprint_is_of_the_content_alone() -> None:
    split = bytes_split()
    same = data_of(Split(split.inputs.clone(), split.labels.clone()), name="other", note="a note").fingerprint()
    assert data_of(split).fingerprint() == same
    assert len(same) == 16


def test_fingerprint_sees_every_change() -> None:
    split = bytes_split()
    pixel = Split(split.inputs.clone(), split.labels)
    pixel.inputs[9, 2, 3, 4] ^= 1
    label = Split(split.inputs, split.labels.flip(0))
    changed = [
        data_of(split),
        *(data_of(split, **{role: pixel}) for role in ("train", "validation", "test")),
        data_of(split, train=label),
        data_of(split, classes=("a", "c")),
        data_of(split, classes=("ab", "")),
        data_of(Split(split.inputs.view(10, 60), split.labels)),
    ]
    assert len({data.fingerprint() for data in changed}) == len(changed)


def test_a_split_goes_by_its_name() -> None:
    split = Split(torch.rand(4, 2), torch.tensor([0, 1, 0, 1]))
    data = Data("four", split, split.take(2), split.take(3), ("a", "b"))
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [4, 2, 3]
    with pytest.raises(SettingError, match="train, validation, test, but got 'dev'"):
        data.split("dev")
