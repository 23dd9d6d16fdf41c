"""From a Hugging Face `DatasetDict` to inputs and labels."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from retemper.data.columns import image_column, is_list, label_column, vector_columns
from retemper.data.found import Found, roles
from retemper.data.images import match_channels, read_image, stack_images
from retemper.data.inputs import Inputs, inputs_of
from retemper.data.labels import number_labels
from retemper.data.splits import Split
from retemper.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from PIL.Image import Image

_READ_AT_ONCE = 256  # rows: enough to make the overhead small, few enough for large images


def read_tables(tables: "DatasetDict", source: str, images: str | None, labels: str | None) -> Found:
    """Decode the images, or collect the vectors, and number the labels.

    Args:
        tables: The splits under the source's own names.
        source: What error messages call the source.
        images: The column of the inputs; None to find it.
        labels: The column of the labels; None to find it.
    """
    splits = {ours: tables[theirs] for ours, theirs in roles(tables, source).items()}
    for role, table in splits.items():
        if len(table) == 0:
            raise DataError(f"Expected images in every split of {source}, but {role} is empty.")
    features = splits["train"].features
    label = label_column(features, labels, source)
    image = image_column({k: v for k, v in features.items() if k != label}, images, source)
    # Labels first: what is wrong with them is then known before minutes of decoding.
    values = {role: _values(table, label, f"{role} of {source}") for role, table in splits.items()}
    numbers, classes = number_labels(values, getattr(features[label], "names", None), source)
    note = ""
    inputs: dict[str, Inputs] = {}
    if image is None or is_list(features[image]):
        columns = vector_columns(features, label, source) if image is None else [image]
        others = [name for name in features if name not in (*columns, label)]
        if others:
            note = f"columns left out: {', '.join(others)}"
        for role, table in splits.items():
            inputs[role] = _vectors(table, columns, f"{role} of {source}")
    else:
        for role, table in splits.items():
            stream = _images(table, image, f"{role} of {source}")
            inputs[role], jpeg = stack_images(stream, len(table), f"{role} of {source}")
            note = "images stored as JPEG" if jpeg else note
        inputs = match_channels(inputs)
    return Found({role: Split(inputs[role], numbers[role]) for role in splits}, classes, note)


def _images(table: "Dataset", column: str, where: str) -> Iterator["Image"]:
    from datasets import Image as ImageFeature

    try:
        encoded = table.select_columns([column]).cast_column(column, ImageFeature(decode=False))
    except Exception as error:  # Arrow's own errors for each kind of column that is no image
        raise DataError(f"Expected column {column!r} of {where} to hold images, but got {error}.") from error
    index = 0
    for batch in encoded.iter(_READ_AT_ONCE):
        for record in batch[column]:
            yield read_image(record, f"Image {index} of {where}")
            index += 1


def _vectors(table: "Dataset", columns: list[str], where: str) -> Inputs:
    arrays = [_values(table, column, where) for column in columns]
    if any(array.dtype.kind not in "iufb" for array in arrays):
        raise DataError(f"Expected numbers in {columns} of {where}, but got {[str(a.dtype) for a in arrays]}.")
    # Text and pandas hold every number in double precision, which says nothing about the data.
    vectors = arrays[0] if len(arrays) == 1 and arrays[0].ndim > 1 else np.stack(arrays, axis=1)
    return inputs_of(vectors.astype(np.float32), f"columns {columns} in {where}")


def _values(table: "Dataset", column: str, where: str) -> Shaped[np.ndarray, "images ..."]:
    values: list[Any] = table.select_columns([column]).with_format("arrow")[:].column(column).to_pylist()
    missing = next((index for index, value in enumerate(values) if value is None), None)
    if missing is not None:
        raise DataError(f"Column {column!r} of {where} has no value at row {missing}; fill it or leave it out.")
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(f"Expected lists of one length in column {column!r} of {where}: {error}.") from None
