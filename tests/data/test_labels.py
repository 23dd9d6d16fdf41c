import numpy as np
import pytest

from retemper.data.labels import number_labels
from retemper.errors import DataError


def test_different_values_over_all_splits_become_the_classes() -> None:
    numbers, classes = number_labels({"train": np.array([7, 3, 7]), "test": np.array([10, 3])}, None, "x")
    assert classes == ("3", "7", "10")
    assert numbers["train"].tolist() == [1, 0, 1]
    assert numbers["test"].tolist() == [2, 0]


def test_strings_are_sorted() -> None:
    numbers, classes = number_labels({"train": np.array(["dog", "cat", "dog"])}, None, "x")
    assert classes == ("cat", "dog")
    assert numbers["train"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_labels_in_a_column_are_flattened(dtype: type) -> None:
    numbers, classes = number_labels({"train": np.array([[0], [2]], dtype)}, ["a", "b", "c"], "x")
    assert numbers["train"].tolist() == [0, 2]
    assert str(numbers["train"].dtype) == "torch.int64"
    assert classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1, 2], ["a", "b"], r"integers in \[0, 1\], but got 2 at index 2 of train of x"),
        ([0, -1], ["a", "b"], "but got -1 at index 1"),
        ([0.0, 1.0], None, "but got float64"),
        ([[0, 1], [1, 0]], None, r"of shape \(2, 2\)"),
        ([0, 1], ["a", "a"], "different class names"),
        (["a", "b"], ["a", "b"], "got strings"),
        ([None, 1], None, "but got object"),
    ],
)
def test_labels_that_are_none_are_refused(labels: list[object], names: list[str] | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        number_labels({"train": np.array(labels)}, names, "x")


def test_strings_in_one_split_and_integers_in_another_are_refused() -> None:
    with pytest.raises(DataError, match="integers and strings"):
        number_labels({"train": np.array(["0", "1"]), "test": np.array([0, 1])}, None, "x")


def test_unsigned_labels_beside_signed_ones_stay_integers() -> None:
    labels = {"train": np.array([0, 2, 1], dtype=np.uint64), "test": np.array([1, 2], dtype=np.int64)}
    numbers, classes = number_labels(labels, None, "set")
    assert classes == ("0", "1", "2")
    assert numbers["train"].tolist() == [0, 2, 1]
