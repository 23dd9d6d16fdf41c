"""`load`: one name for every source of data."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from retemper.checks import is_a
from retemper.data.arrays import read_arrays
from retemper.data.breast_cancer import read_breast_cancer
from retemper.data.cache import cached, files_identity
from retemper.data.digits import read_digits
from retemper.data.divide import check_settings, divide
from retemper.data.found import Found
from retemper.data.hub import open_hub, open_local, refuse_linked_folders
from retemper.data.scaling import scaled
from retemper.data.splits import Data
from retemper.data.tables import read_tables
from retemper.data.torch_dataset import Dataset, read_torch_datasets
from retemper.errors import DataError, SettingError

_ALIASES = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10"}
_ARRAY_FILES = (".npz", ".safetensors")
_TABLE_FILES = (".parquet", ".csv")


def load(
    source: str | Path | Dataset,
    *,
    classes: Sequence[str] | None = None,
    validation: float = 0.1,
    seed: int = 0,
    test: Dataset | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Data:
    """Load images or vectors in [0, 1] with labels, as train, validation and test.

    A source is one of

    - `"digits"`: 1,797 real images of 8x8 that scikit-learn carries, so nothing is downloaded;
    - `"breast-cancer"`: 569 tumours, malignant or benign, by 30 features, likewise; each feature goes from its minimum
      over the train split, 0, to its maximum there, 1, and is clipped to that in the others;
    - `"mnist"` or `"cifar10"`: the folder of that name in `$RETEMPER_DATA`, else the Hugging Face Hub;
    - a Hub id with a slash, such as `"ylecun/mnist"`;
    - a folder of parquet or csv files, or of images (`train/cat/1.png`); one .parquet or .csv file;
    - one .npz or .safetensors file of `train_inputs`, `train_labels`, `test_inputs`, ... or with the names
      that Keras (`x_train`, `y_train`) or MedMNIST (`train_images`, `train_labels`) use;
    - a `torch.utils.data.Dataset` of (input, label).

    What the source lacks is split off its train split at random, with the same shares of every class:

    - no validation: the share `validation`, seeded by `seed`;
    - validation but no test (as ImageNet): its validation is the test split, and ours is split off train;
    - only train (as the two that scikit-learn carries): a third becomes the test split, always the same whatever
      `seed` is.

    Images are decoded once and kept in `$RETEMPER_CACHE`, else `$XDG_CACHE_HOME/retemper`, else
    `~/.cache/retemper`.

    Args:
        source: See above.
        classes: Names of the classes to keep; labels are numbered in this order.
        validation: Share of train to validate on, in (0, 1), unless the source has a validation split.
        seed: Chooses the images to validate on.
        test: The test split, where `source` is a `Dataset`.
        image_column: The column of the inputs, if a table has several that could be.
        label_column: The column of the labels, likewise.

    Raises:
        DataError: there is no such source, or it is not labelled inputs in [0, 1] that fit together.
        SettingError: an argument cannot have the value it has.
    """
    check_settings(classes, validation, seed)
    if isinstance(source, torch.utils.data.Dataset):
        _refuse_columns(image_column, label_column, "a torch Dataset")
        if test is not None:
            is_a(torch.utils.data.Dataset, "as `source` is; of a DataLoader that is its `dataset`", test=test)
        found = read_torch_datasets(source, test)
        return divide(type(source).__name__, found, classes, validation, seed)
    if not isinstance(source, (str, Path)):
        raise SettingError(f"Expected a name, a path or a torch Dataset, but got {type(source).__name__}.")
    if test is not None:
        raise SettingError("`test` goes with a torch Dataset; a name or a path brings its own test split.")
    if source == "digits":
        _refuse_columns(image_column, label_column, source)
        return divide(source, read_digits(), classes, validation, seed)
    if source == "breast-cancer":
        _refuse_columns(image_column, label_column, source)
        return scaled(divide(source, read_breast_cancer(), classes, validation, seed))
    path = _path(source)
    if path is None:
        found = _from_hub(_ALIASES.get(str(source), str(source)), image_column, label_column)
        return divide(str(source), found, classes, validation, seed)
    if path.suffix in _ARRAY_FILES:
        _refuse_columns(image_column, label_column, path.name)
        return divide(path.stem, read_arrays(path), classes, validation, seed)
    found = _from_tables(path, image_column, label_column)
    return divide(path.name if path.is_dir() else path.stem, found, classes, validation, seed)


def _path(source: str | Path) -> Path | None:
    """Find the file or folder that `source` means; None if it is a Hub id."""
    if isinstance(source, str) and source in _ALIASES:
        home = os.environ.get("RETEMPER_DATA")
        folder = Path(home).absolute() / source if home else None
        return folder if folder and folder.is_dir() else None
    path = Path(source).expanduser().absolute()
    if path.is_dir() or (path.is_file() and path.suffix in _ARRAY_FILES + _TABLE_FILES):
        return path
    if path.exists():
        raise DataError(f"Expected {path} to be a folder or a file of {', '.join(_ARRAY_FILES + _TABLE_FILES)}.")
    text = str(source)
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or path.suffix in _ARRAY_FILES + _TABLE_FILES:
        raise DataError(f"There is no file or folder {path}; check the path.")
    if "/" not in text:
        known = ["digits", "breast-cancer", *_ALIASES]
        close = difflib.get_close_matches(text.lower(), known)
        raise DataError(
            f"There is no data set, file or folder called {text!r}"
            + (f"; did you mean {' or '.join(close)}? " if close else ". ")
            + f"Expected one of {known}, a path, or a Hugging Face Hub id, which is anything with a slash."
        )
    return None


def _from_tables(path: Path, images: str | None, labels: str | None) -> Found:
    refuse_linked_folders(path)

    def build() -> Found:
        with open_local(path) as tables:
            return read_tables(tables, str(path), images, labels)

    return cached(["files", str(path), files_identity(path), images, labels], build)


def _from_hub(name: str, images: str | None, labels: str | None) -> Found:
    tables = open_hub(name)
    fingerprints: dict[str, Any] = {split: table._fingerprint for split, table in tables.items()}
    return cached(["hub", name, fingerprints, images, labels], lambda: read_tables(tables, name, images, labels))


def _refuse_columns(images: str | None, labels: str | None, source: str) -> None:
    if images is not None or labels is not None:
        raise SettingError(f"`image_column` and `label_column` are for tables, and {source} is none.")
