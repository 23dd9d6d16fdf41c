import pytest
import torch

from retemper.data.found import Found, roles
from retemper.data.splits import Split
from retemper.errors import DataError


def split_of(*labels: int, shape: tuple[int, ...] = (2,), dtype: torch.dtype = torch.float32) -> Split:
    return Split(torch.zeros(len(labels), *shape, dtype=dtype), torch.tensor(labels))


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_validation_is_known_by_four_names(name: str) -> None:
    assert roles(["test", name, "extra", "train"], "x") == {
        "train": "train",
        "validation": name,
        "test": "test",
    }


def test_source_without_train_is_refused() -> None:
    with pytest.raises(DataError, match=r"'train' in x, but got \['test'\]"):
        roles(["test"], "x")


@pytest.mark.parametrize(
    ("test", "classes", "message"),
    [
        (
            split_of(0, 1, shape=(3,)),
            ("a", "b"),
            r"test to be like train, inputs of shape \(2,\) .* got \(3,\)",
        ),
        (split_of(0, 1, dtype=torch.uint8), ("a", "b"), "in torch.float32, but got .* in torch.uint8"),
        (split_of(0, 2), ("a", "b", "c"), "'c' is in test but has no image in train"),
        (split_of(0), ("a",), r"two classes or more, but got only \['a'\]"),
    ],
)
def test_splits_that_do_not_fit_are_refused(test: Split, classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Found({"train": split_of(0, 1), "test": test}, classes)
