import pytest

from retemper.data import Data
from retemper.errors import ModelError
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
