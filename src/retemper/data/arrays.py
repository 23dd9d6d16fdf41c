"""Reading .npz and .safetensors files of arrays."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retemper.data.found import Found
from retemper.data.inputs import inputs_of
from retemper.data.labels import number_labels
from retemper.data.splits import Split
from retemper.errors import DataError

# The names of (inputs, labels) of each split: ours, those of Keras, those of MedMNIST.
_NAMINGS = (
    {role: (f"{role}_inputs", f"{role}_labels") for role in ("train", "validation", "test")},
    {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")},
    {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
)


def read_arrays(path: Path) -> Found:
    """Read the splits in one file of arrays, named in any of the three usual ways."""
    try:
        arrays, classes = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
    except DataError:
        raise
    except Exception as error:  # zip, zlib, NumPy and safetensors each have errors of their own
        # NumPy's advice would be to load it as a pickle.
        reason = "no archive of plain arrays" if "pickle" in str(error) else error
        raise DataError(f"{path} cannot be read ({reason}); write or fetch it anew.") from error
    naming = next((naming for naming in _NAMINGS if naming["train"][0] in arrays), None)
    if naming is None:
        raise DataError(
            f"Expected arrays called train_inputs and train_labels, x_train and y_train, or train_images and "
            f"train_labels in {path}, but got {sorted(arrays)}."
        )
    inputs, labels = {}, {}
    for role, (theirs, target) in naming.items():
        if (theirs in arrays) != (target in arrays):
            raise DataError(f"Expected both {theirs} and {target} in {path}, but got {sorted(arrays)}.")
        if theirs in arrays:
            inputs[role] = inputs_of(arrays[theirs], f"{theirs} of {path}")
            labels[role] = arrays[target]
    numbers, names = number_labels(labels, classes, str(path))
    return Found({role: Split(inputs[role], numbers[role]) for role in inputs}, names)


def _read_npz(path: Path) -> tuple[Mapping[str, np.ndarray], list[str] | None]:
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise DataError(f"Expected several named arrays in {path}, but got one; write it with numpy.savez.")
        with content:
            arrays = {name: content[name] for name in content.files}
    classes = arrays.pop("classes", None)
    return arrays, None if classes is None else _names(classes.tolist(), path)


def _read_safetensors(path: Path) -> tuple[Mapping[str, np.ndarray], list[str] | None]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        classes = (file.metadata() or {}).get("classes")
    # NumPy has no bfloat16.
    arrays = {k: (v.float() if v.dtype == torch.bfloat16 else v).numpy() for k, v in tensors.items()}
    return arrays, None if classes is None else _names(json.loads(classes), path)


def _names(classes: Any, path: Path) -> list[str]:
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"Expected `classes` in {path} to be a list of strings, but got {classes!r}.")
    return classes
