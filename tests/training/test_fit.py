from dataclasses import replace

import pytest

from retemper.data import Data, Split
from retemper.errors import DataError, ModelError
from retemper.models import create
from retemper.training import check_fit


def test_a_network_with_another_number_of_classes_is_refused(digits: Data) -> None:
    with pytest.raises(ModelError, match="7 logits, but digits has 10 classes"):
        check_fit(create("mlp", shape=digits.shape, classes=7), digits)


def test_a_network_for_another_shape_is_refused(digits: Data) -> None:
    with pytest.raises(ModelError, match=r"failed on inputs of shape \(2, 1, 8, 8\)"):
        check_fit(create("lenet5", shape=(3, 32, 32), classes=10), digits)


def test_a_network_that_fits_passes(digits: Data) -> None:
    check_fit(create("lenet5", shape=digits.shape, classes=10), digits)


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_label_that_is_none_of_the_classes_is_refused(digits: Data, name: str) -> None:
    split = digits.split(name)
    for label in (-100, 10):
        labels = split.labels.clone()
        labels[3] = label
        with pytest.raises(DataError, match=f"labels from 0 to 9, .* its {name} split has some from .*{abs(label)}"):
            check_fit(
                create("mlp", shape=digits.shape, classes=10), replace(digits, **{name: Split(split.inputs, labels)})
            )


def test_inputs_that_are_not_finite_are_refused(digits: Data) -> None:
    inputs = digits.validation.inputs.clone()
    inputs[[1, 5], 0, 2, 3] = float("nan")
    spoilt = replace(digits, validation=Split(inputs, digits.validation.labels))
    with pytest.raises(DataError, match=r"2 of 120 in the validation split of digits hold NaN"):
        check_fit(create("mlp", shape=digits.shape, classes=10), spoilt)
