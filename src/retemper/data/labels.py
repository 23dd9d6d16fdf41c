"""From labels of any kind to class numbers and class names."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from retemper.errors import DataError

Labels = Shaped[np.ndarray, " images"]


def number_labels(
    labels: Mapping[str, Labels], names: Sequence[str] | None, source: str
) -> tuple[dict[str, Int[Tensor, " images"]], tuple[str, ...]]:
    """Number the labels of all splits 0 .. K-1.

    Args:
        labels: Integers or strings by split; a trailing dimension of 1 is dropped.
        names: The class names, if the source has them: labels are then their positions. Without them the
            sorted different values over all splits are the classes.
        source: What error messages call the source.
    """
    flat = {role: _flat(values, f"{role} of {source}") for role, values in labels.items()}
    if names is not None:
        if len(set(names)) < len(names):
            raise DataError(f"Expected different class names in {source}, but got {list(names)}.")
        for role, values in flat.items():
            _check_range(values, len(names), f"{role} of {source}")
        return {role: torch.from_numpy(values.astype(np.int64)) for role, values in flat.items()}, tuple(names)
    if len({values.dtype.kind == "U" for values in flat.values()}) > 1:
        raise DataError(f"Expected labels of one kind in {source}, but got integers and strings.")
    known = np.unique(np.concatenate(list(flat.values())))
    numbers = {role: torch.from_numpy(np.searchsorted(known, values)) for role, values in flat.items()}
    return numbers, tuple(str(value) for value in known.tolist())


def _flat(values: np.ndarray, where: str) -> Labels:
    if values.ndim > 1 and values.shape[1:] == (1,) * (values.ndim - 1):
        values = values.reshape(-1)
    if values.ndim != 1 or values.dtype.kind not in "biuU":
        raise DataError(
            f"Expected one integer or string a label in {where}, but got {values.dtype} of shape "
            f"{values.shape}; store class numbers as integers."
        )
    # Beside signed ones, NumPy would make floats of these.
    return values.astype(np.int64) if values.dtype == np.uint64 and (values < 2**63).all() else values


def _check_range(values: Labels, count: int, where: str) -> None:
    if values.dtype.kind == "U":
        raise DataError(f"Expected integer labels in {where}, whose classes are named, but got strings.")
    outside = np.flatnonzero((values < 0) | (values >= count))
    if len(outside):
        raise DataError(
            f"Expected labels to be integers in [0, {count - 1}], but got {values[outside[0]]} at index "
            f"{outside[0]} of {where}; check the label column, or leave unlabelled images out of the source."
        )
