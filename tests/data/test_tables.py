from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Array2D, Array3D, ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as Pillow

from retemper.data.tables import read_tables
from retemper.errors import DataError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (300, 3, 4, 3), dtype=np.uint8)  # more than are read at once
NAMED = ClassLabel(names=["a", "b"])


def encoded(values: np.ndarray, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Pillow.fromarray(values).save(file, kind)
    return file.getvalue()


def image_table(values: np.ndarray, kind: str = "PNG", **columns: Any) -> Dataset:
    features = Features({"image": Image(), "label": NAMED, **{name: Image() for name in columns}})
    labels = [index % 2 for index in range(len(values))]
    return Dataset.from_dict({"image": [encoded(v, kind) for v in values], "label": labels, **columns}, features)


def table(columns: dict[str, Any], **features: Any) -> DatasetDict:
    return DatasetDict(train=Dataset.from_dict(columns, Features(features) if features else None))


def test_images_and_labels_survive_in_order() -> None:
    found = read_tables(DatasetDict(train=image_table(PIXELS), test=image_table(PIXELS[:3])), "x", None, None)
    np.testing.assert_array_equal(found.splits["train"].inputs.numpy(), PIXELS.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found.splits["test"].inputs.numpy(), PIXELS[:3].transpose(0, 3, 1, 2))
    assert found.splits["train"].labels.tolist() == [index % 2 for index in range(300)]
    assert found.classes == ("a", "b")
    assert found.note == ""


def test_grey_train_follows_a_colour_test() -> None:
    tables = DatasetDict(train=image_table(PIXELS[:2, :, :, 0]), test=image_table(PIXELS[:2]))
    found = read_tables(tables, "x", None, None)
    expected = np.repeat(PIXELS[:2, None, :, :, 0], 3, axis=1)
    np.testing.assert_array_equal(found.splits["train"].inputs.numpy(), expected)


@pytest.mark.parametrize("lossy", ["train", "test"])
def test_jpeg_in_any_split_is_noted(lossy: str) -> None:
    splits = {role: image_table(PIXELS[:2], "JPEG" if role == lossy else "PNG") for role in ("train", "test")}
    assert read_tables(DatasetDict(splits), "x", None, None).note == "images stored as JPEG"


def test_image_column_chooses_among_several() -> None:
    other = PIXELS[::-1]
    tables = DatasetDict(train=image_table(PIXELS[:4], mask=[encoded(v) for v in other[:4]]))
    found = read_tables(tables, "x", "mask", None)
    np.testing.assert_array_equal(found.splits["train"].inputs.numpy(), other[:4].transpose(0, 3, 1, 2))


def test_encoded_bytes_without_an_image_type_are_read_when_named() -> None:
    tables = table({"png": [encoded(v) for v in PIXELS[:4]], "y": [0, 1, 0, 1]})
    found = read_tables(tables, "x", "png", None)
    np.testing.assert_array_equal(found.splits["train"].inputs.numpy(), PIXELS[:4].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("feature", "shape"),
    [
        (List(Value("float32"), length=5), (5,)),
        (List(Value("float64")), (5,)),
        (Array2D((2, 3), "float32"), (2, 3)),
        (Array3D((1, 2, 2), "float32"), (1, 2, 2)),
    ],
)
def test_list_column_is_read_as_float32(feature: Any, shape: tuple[int, ...]) -> None:
    values = RANDOM.random((4, *shape)).astype(np.float32)
    tables = table({"x": values.tolist(), "y": [0, 1, 0, 1]}, x=feature, y=Value("int64"))
    inputs = read_tables(tables, "x", None, None).splits["train"].inputs
    assert inputs.dtype == torch.float32
    np.testing.assert_array_equal(inputs.numpy().reshape(values.shape), values)
    assert inputs.ndim == (2 if len(shape) == 1 else 4)


def test_numeric_columns_become_vectors_and_text_labels_classes() -> None:
    columns = {
        "a": [0.0, 0.5],
        "class": ["no", "maybe"],
        "b": [1, 0],
        "id": ["x", "y"],
        "c": [True, False],
        "d": ["", ""],
    }
    found = read_tables(table(columns), "x", None, None)
    assert found.splits["train"].inputs.tolist() == [[0, 1, 1], [0.5, 0, 0]]
    assert found.note == "columns left out: id, d"
    assert found.splits["train"].labels.tolist() == [1, 0]
    assert found.classes == ("maybe", "no")


def unlabelled_test() -> DatasetDict:
    test = Dataset.from_dict({"a": [0.1], "label": [-1]}, Features(a=Value("float32"), label=NAMED))
    train = Dataset.from_dict({"a": [0.1, 0.2], "label": [0, 1]}, Features(a=Value("float32"), label=NAMED))
    return DatasetDict(train=train, test=test)


def empty_test() -> DatasetDict:
    return DatasetDict(train=image_table(PIXELS[:2]), test=image_table(PIXELS[:0]))


@pytest.mark.parametrize(
    ("tables", "image", "message"),
    [
        (unlabelled_test(), None, r"integers in \[0, 1\], but got -1 at index 0 of test of x"),
        (empty_test(), None, "every split of x, but test is empty"),
        (table({"a": [0.1, None], "y": [0, 1]}), None, "'a' of train of x has no value at row 1"),
        (table({"a": [0.1, 0.2], "y": [0, None]}), None, "'y' of train of x has no value at row 1"),
        (table({"a": [0.1, float("nan")], "y": [0, 1]}), None, "but got NaN"),
        (table({"a": [0.1, 3.0], "y": [0, 1]}), None, r"columns \['a'\] in train of x .* from 0.1 to 3"),
        (table({"a": [[0.1], [0.1, 0.2]], "y": [0, 1]}), None, "lists of one length in column 'a'"),
        (table({"a": [["u"], ["v"]], "y": [0, 1]}), None, "numbers in .'a'. of train"),
        (table({"a": [0.1, 0.2], "y": [0.5, 1.5]}), None, "integer or string"),
        (table({"a": [0.1, 0.2], "y": [0, 1]}), "a", "'a' of train of x to hold images"),
        (table({"a": [b"text", b"text"], "y": [0, 1]}), "a", "Image 0 of train of x cannot be decoded"),
        (table({"a": [b"text", None], "y": [0, 1]}), "a", "cannot be decoded"),
        (table({"a": [0.1, 0.2], "y": [1, 1]}), None, "two classes or more"),
    ],
)
def test_tables_that_are_no_data_are_refused(tables: DatasetDict, image: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_tables(tables, "x", image, None)


def test_missing_image_is_refused() -> None:
    train = image_table(PIXELS[:2])
    tables = DatasetDict(train=Dataset.from_dict({"image": [None, None], "label": [0, 1]}, train.features))
    with pytest.raises(DataError, match="Image 0 of train of x is missing"):
        read_tables(tables, "x", None, None)
