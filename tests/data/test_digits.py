import numpy as np
import torch
from sklearn.datasets import load_digits

from retemper.data.digits import read_digits


def test_digits_are_those_of_scikit_learn_scaled_by_sixteen() -> None:
    found = read_digits()
    split = found.splits["train"]
    assert split.inputs.dtype == torch.float32
    assert split.inputs.shape == (1797, 1, 8, 8)
    assert found.classes == tuple("0123456789")
    np.testing.assert_array_equal(split.inputs[:, 0].numpy() * 16, load_digits().images)
    np.testing.assert_array_equal(split.labels.numpy(), load_digits().target)
