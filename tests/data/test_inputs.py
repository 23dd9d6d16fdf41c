import numpy as np
import pytest
import torch

from retemper.data.inputs import inputs_of
from retemper.errors import DataError

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4, 7), None),
        ((4, 1, 8, 9), None),
        ((4, 3, 8, 9), None),
        ((4, 8, 9, 1), (0, 3, 1, 2)),
        ((4, 8, 9, 3), (0, 3, 1, 2)),
    ],
)
def test_channels_come_first(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> None:
    array = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    inputs = inputs_of(array, "x")
    np.testing.assert_array_equal(inputs.numpy(), array if axes is None else array.transpose(axes))
    assert inputs.dtype == torch.uint8
    assert inputs.is_contiguous()


def test_grey_images_get_a_channel() -> None:
    array = RANDOM.random((4, 3, 3), dtype=np.float32)
    np.testing.assert_array_equal(inputs_of(array, "x").numpy(), array[:, None])


@pytest.mark.parametrize(("shape", "which"), [((4, 3, 5, 3), "either could"), ((4, 2, 5, 4), "neither can")])
def test_channels_that_cannot_be_told_are_refused(shape: tuple[int, ...], which: str) -> None:
    with pytest.raises(DataError, match=f"{which} be the channels"):
        inputs_of(np.zeros(shape), "x")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("uint8", torch.uint8),
        ("int64", torch.uint8),
        ("uint16", torch.uint8),
        (">i4", torch.uint8),
        ("float16", torch.float32),
        ("float32", torch.float32),
        (">f4", torch.float32),
        ("float64", torch.float32),
    ],
)
def test_values_survive_and_types_are_bytes_or_floats(given: str, kept: torch.dtype) -> None:
    scale = 1 if np.dtype(given).kind == "f" else 255
    array = (np.array([[0, 0.5], [1, 0.25]]) * scale).astype(given)
    inputs = inputs_of(array, "x")
    assert inputs.dtype == kept
    np.testing.assert_array_equal(inputs.numpy(), array)


def test_source_that_may_not_be_written_is_copied() -> None:
    array = np.full((2, 2), 0.5, np.float32)
    array.flags.writeable = False
    inputs_of(array, "x").zero_()
    assert array.min() == 0.5


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.array([[0.5, 1.25]]),
            r"x to lie in \[0, 1\], but got values from 0.5 to 1.25; scale it to \[0, 1\]",
        ),
        (np.array([[-1.0, 1.0]]), "from -1 to 1; .* normalisation into the model"),
        (np.array([[0.5, np.nan]]), "but got NaN"),
        (np.array([[0.5, np.inf]]), "from 0.5 to inf"),
        (np.array([[0.5, -np.inf]]), "from -inf to 0.5"),
        (np.array([[0, 256]]), r"in 0..255, but got 0 to 256"),
        (np.array([[-1, 200]], np.int16), "got -1 to 200"),
        (np.array([[0, 1]]), "int64 of only 0 and 1"),
        (np.array([[True, False]]), "but got bool"),
        (np.array([["a", "b"]]), "but got <U1"),
        (np.array([[1j]]), "but got complex128"),
        (np.zeros(3), r"but got shape \(3,\)"),
        (np.zeros((2, 3, 4, 5, 6)), r"but got shape \(2, 3, 4, 5, 6\)"),
        (np.zeros((0, 3)), r"at least one, but got shape \(0, 3\)"),
    ],
)
def test_arrays_that_are_no_inputs_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        inputs_of(array, "x")
