import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file as save_tensors

from retemper.data import load
from retemper.data.arrays import read_arrays
from retemper.errors import DataError

RANDOM = np.random.default_rng(0)
TRAIN = RANDOM.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)
OTHER = RANDOM.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(30) % 3

Writer = Callable[[Path, dict[str, np.ndarray], list[str] | None], Path]


def write_npz(folder: Path, arrays: dict[str, np.ndarray], classes: list[str] | None = None) -> Path:
    path = folder / "set.npz"
    np.savez(path, **arrays, **({} if classes is None else {"classes": np.array(classes)}))
    return path


def write_safetensors(folder: Path, arrays: dict[str, np.ndarray], classes: list[str] | None = None) -> Path:
    path = folder / "set.safetensors"
    save_arrays(arrays, path, None if classes is None else {"classes": json.dumps(classes)})
    return path


WRITERS = pytest.mark.parametrize("write", [write_npz, write_safetensors])


@WRITERS
@pytest.mark.parametrize(
    ("inputs", "labels", "roles"),
    [
        ("{}_inputs", "{}_labels", ("train", "validation", "test")),
        ("x_{}", "y_{}", ("train", "val", "test")),
        ("{}_images", "{}_labels", ("train", "val", "test")),
    ],
)
def test_three_namings_are_read(
    tmp_path: Path, write: Writer, inputs: str, labels: str, roles: tuple[str, str, str]
) -> None:
    arrays = {}
    for role, values in zip(roles, (TRAIN, OTHER, OTHER[::-1].copy()), strict=True):
        arrays[inputs.format(role)] = values
        arrays[labels.format(role)] = LABELS[: len(values), None]
    data = load(write(tmp_path, arrays, None))
    assert data.name == "set"
    assert data.classes == ("0", "1", "2")
    np.testing.assert_array_equal(data.train.inputs.numpy(), TRAIN.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.validation.inputs.numpy(), OTHER.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.test.inputs.numpy(), OTHER[::-1].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.train.labels.numpy(), LABELS)


@WRITERS
def test_class_names_in_the_file_are_used(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path, {"x_train": TRAIN, "y_train": LABELS}, ["ant", "bee", "cow"])
    assert read_arrays(path).classes == ("ant", "bee", "cow")


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    inputs = torch.rand(4, 3).bfloat16()
    path = tmp_path / "set.safetensors"
    save_tensors({"train_inputs": inputs, "train_labels": torch.tensor([0, 1, 0, 1])}, path)
    assert torch.equal(read_arrays(path).splits["train"].inputs, inputs.float())


@WRITERS
@pytest.mark.parametrize(
    ("arrays", "classes", "message"),
    [
        ({"images": TRAIN}, None, r"train_inputs and train_labels, .* but got \['images'\]"),
        ({"x_train": TRAIN}, None, "both x_train and y_train"),
        ({"x_train": TRAIN, "y_train": LABELS, "y_test": LABELS}, None, "both x_test and y_test"),
        ({"x_train": TRAIN, "y_train": LABELS[:-1]}, None, "Expected 30 labels"),
        ({"x_train": TRAIN, "y_train": LABELS}, ["a", "b"], r"integers in \[0, 1\], but got 2 at index 2"),
        ({"x_train": TRAIN, "y_train": LABELS / 2}, None, "integer or string"),
        ({"x_train": TRAIN[:0], "y_train": LABELS[:0]}, None, "at least one"),
        ({"x_train": TRAIN / 200, "y_train": LABELS}, None, r"x_train of .*set\.\w+ to lie in \[0, 1\]"),
    ],
)
def test_arrays_that_are_no_data_are_refused(
    tmp_path: Path, write: Writer, arrays: dict[str, np.ndarray], classes: list[str] | None, message: str
) -> None:
    path = write(tmp_path, arrays, classes)
    with pytest.raises(DataError, match=message):
        read_arrays(path)


@WRITERS
@pytest.mark.parametrize("length", [0, 7, 200, 1500])
def test_truncated_file_is_refused(tmp_path: Path, write: Writer, length: int) -> None:
    path = write(tmp_path, {"x_train": TRAIN, "y_train": LABELS}, None)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"set\.\w+ cannot be read") as error:
        read_arrays(path)
    assert "pickle" not in str(error.value)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    path = write_npz(tmp_path, {"x_train": np.array([{"a": 1}], dtype=object), "y_train": LABELS})
    with pytest.raises(DataError, match="no archive of plain arrays"):
        read_arrays(path)


def test_one_unnamed_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    with path.open("wb") as file:
        np.save(file, TRAIN)
    with pytest.raises(DataError, match=r"but got one; write it with numpy\.savez"):
        read_arrays(path)


def test_class_names_that_are_no_strings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    save_arrays({"x_train": TRAIN, "y_train": LABELS}, path, {"classes": "[0, 1, 2]"})
    with pytest.raises(DataError, match=r"list of strings, but got \[0, 1, 2\]"):
        read_arrays(path)
