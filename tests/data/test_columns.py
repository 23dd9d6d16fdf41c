from typing import Any

import pytest
from datasets import ClassLabel, Features, Image, List, Value

from retemper.data.columns import image_column, label_column, vector_columns
from retemper.errors import DataError

NAMED = ClassLabel(names=["a", "b"])
NUMBER = Value("float32")


@pytest.mark.parametrize(
    ("features", "chosen", "found"),
    [
        ({"x": NUMBER, "digit": NAMED}, None, "digit"),
        ({"label": NUMBER, "digit": NAMED}, None, "digit"),
        ({"fine": NAMED, "coarse": NAMED, "label": NAMED}, None, "label"),
        ({"fine": NAMED, "coarse": NAMED}, "coarse", "coarse"),
        *(({"x": NUMBER, name: Value("int64")}, None, name) for name in ("label", "labels", "target", "y", "class")),
    ],
)
def test_labels_are_the_one_class_label_or_have_a_usual_name(
    features: dict[str, Any], chosen: str | None, found: str
) -> None:
    assert label_column(Features(features), chosen, "x") == found


@pytest.mark.parametrize(
    ("features", "chosen", "message"),
    [
        (
            {"x": NUMBER, "kind": Value("int64")},
            None,
            r"columns are \['x', 'kind'\]; name it with `label_column`",
        ),
        ({"fine": NAMED, "coarse": NAMED}, None, r"columns are \['fine', 'coarse'\]"),
        ({"x": NUMBER, "y": NUMBER, "target": NUMBER}, None, r"\['x', 'y', 'target'\]"),
        ({"x": NUMBER, "y": NUMBER}, "z", r"`label_column` to be a column of set, \['x', 'y'\], but got 'z'"),
    ],
)
def test_labels_that_cannot_be_told_are_refused(features: dict[str, Any], chosen: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        label_column(Features(features), chosen, "set")


def test_images_are_the_one_image_column() -> None:
    assert image_column(Features({"x": NUMBER, "photo": Image()}), None, "x") == "photo"
    assert image_column(Features({"left": Image(), "right": Image()}), "right", "x") == "right"
    assert image_column(Features({"x": NUMBER}), None, "x") is None


def test_images_that_cannot_be_told_are_refused() -> None:
    with pytest.raises(DataError, match=r"but got \['left', 'right'\]; pass `image_column`"):
        image_column(Features({"left": Image(), "right": Image()}), None, "x")
    with pytest.raises(DataError, match=r"`image_column` to be a column .* but got 'img'"):
        image_column(Features({"image": Image()}), "img", "x")


def test_vectors_are_the_one_list_or_all_numbers() -> None:
    table = {"a": Value("float64"), "name": Value("string"), "b": Value("int8"), "y": Value("int64")}
    assert vector_columns(Features(table), "y", "x") == ["a", "b"]
    assert vector_columns(Features({**table, "pixels": List(NUMBER)}), "y", "x") == ["pixels"]


@pytest.mark.parametrize("rest", [{"name": Value("string")}, {"left": List(NUMBER), "right": List(NUMBER)}])
def test_tables_without_numbers_or_with_two_lists_are_refused(rest: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="name the inputs with `image_column`"):
        vector_columns(Features({**rest, "y": Value("int64")}), "y", "x")
