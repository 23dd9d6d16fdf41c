import numpy as np
import torch
from sklearn.datasets import load_breast_cancer

from retemper.data.breast_cancer import read_breast_cancer


def test_tumours_are_those_of_scikit_learn_as_measured() -> None:
    found = read_breast_cancer()
    split = found.splits["train"]
    assert split.inputs.dtype == torch.float32
    assert found.classes == ("malignant", "benign")
    np.testing.assert_array_equal(split.inputs.numpy(), load_breast_cancer().data.astype(np.float32))
    assert split.labels.bincount().tolist() == [212, 357]
