"""Reading a `torch.utils.data.Dataset` into memory."""

from collections.abc import Sized
from typing import Any

import numpy as np
import torch

from retemper.data.found import Found
from retemper.data.images import match_channels, stack_images
from retemper.data.inputs import Inputs, values_of
from retemper.data.labels import number_labels
from retemper.data.splits import Split
from retemper.errors import DataError

Dataset = torch.utils.data.Dataset[Any]


def read_torch_datasets(train: Dataset, test: Dataset | None) -> Found:
    """Read every (input, label) once; random transforms are thereby frozen.

    Inputs are PIL images, or tensors or arrays of (C, H, W), (H, W) or (D,). The class names are the
    attribute `classes` that torchvision's data sets have, where it is a list of names: others have a number there, or
    values, which say less than the labels themselves.
    """
    datasets = {"train": train} if test is None else {"train": train, "test": test}
    inputs: dict[str, Inputs] = {}
    labels = {}
    note = ""
    for role, dataset in datasets.items():
        inputs[role], labels[role], jpeg = _read(dataset, f"the {role} {type(dataset).__name__}")
        note = "images stored as JPEG" if jpeg else note
    if all(values.ndim == 4 and values.dtype == torch.uint8 for values in inputs.values()):
        inputs = match_channels(inputs)
    names, others = _names(train), _names(test)
    if names is not None and others is not None and names != others:
        labels["test"] = _renumbered(labels["test"], others, names)
    numbers, classes = number_labels(labels, names, type(train).__name__)
    return Found({role: Split(inputs[role], numbers[role]) for role in inputs}, classes, note)


def _names(dataset: Dataset | None) -> list[str] | None:
    names = getattr(dataset, "classes", None)
    names = names.tolist() if isinstance(names, np.ndarray) else names
    if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
        return list(names)
    return None


def _renumbered(labels: np.ndarray, names: list[str], known: list[str]) -> np.ndarray:
    """Labels that are places among some class names, as places among others."""
    if strange := [name for name in names if name not in known]:
        raise DataError(f"Expected the classes of train in test, {known}, but test has {strange} besides.")
    if labels.dtype.kind not in "biu" or not ((labels >= 0) & (labels < len(names))).all():
        raise DataError(f"Expected labels of test to be integers in [0, {len(names) - 1}], as places in {names}.")
    return np.array([known.index(name) for name in names])[labels.astype(np.int64)]


def _read(dataset: Dataset, where: str) -> tuple[Inputs, np.ndarray, bool]:
    from PIL.Image import Image

    if not isinstance(dataset, Sized) or len(dataset) == 0:
        raise DataError(f"Expected {where} to have a length, and of 1 or more; iterable ones are not read.")
    items, labels = [], []
    for index in range(len(dataset)):
        item = dataset[index]
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise DataError(f"Expected (input, label) at {index} of {where}, but got {type(item).__name__}.")
        items.append(item[0])
        labels.append(np.asarray(item[1].cpu() if isinstance(item[1], torch.Tensor) else item[1]))
    if any(label.shape != labels[0].shape for label in labels):
        raise DataError(f"Expected one integer or string a label in {where}, but got arrays of several shapes.")
    jpeg = False
    if all(isinstance(item, Image) for item in items):
        inputs, jpeg = stack_images(items, len(items), where)
    else:
        inputs = _stack(items, where)
    return inputs, np.stack(labels), jpeg


def _stack(items: list[Any], where: str) -> Inputs:
    if not all(isinstance(item, (torch.Tensor, np.ndarray)) for item in items):
        found = sorted({type(item).__name__ for item in items})
        raise DataError(f"Expected all inputs of {where} as PIL images, tensors or arrays, but got {found}.")
    arrays = [_array(item, where) if isinstance(item, torch.Tensor) else item for item in items]
    for index, array in enumerate(arrays):
        if array.shape != arrays[0].shape or array.dtype != arrays[0].dtype:
            raise DataError(
                f"Expected inputs of one shape and type in {where}, but input 0 is {arrays[0].dtype} of "
                f"{arrays[0].shape} and input {index} is {array.dtype} of {array.shape}; resize them first."
            )
    values = values_of(np.stack(arrays), f"the inputs of {where}")
    return values.unsqueeze(1) if values.ndim == 3 else values


def _array(tensor: torch.Tensor, where: str) -> np.ndarray:
    try:
        return tensor.detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:  # such as bfloat16, and sparse tensors
        raise DataError(
            f"Expected dense inputs of a type that NumPy has in {where}, but got {tensor.dtype} in the layout "
            f"{tensor.layout}; have it give `tensor.float()` or `tensor.to_dense()`."
        ) from error
