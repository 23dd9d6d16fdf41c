import torch

from retemper.data.scaling import scaled
from retemper.data.splits import Data, Split


def data(train: list[list[float]], validation: list[list[float]], test: list[list[float]]) -> Data:
    splits = [Split(torch.tensor(rows), torch.arange(len(rows)) % 2) for rows in (train, validation, test)]
    return Data("measured", *splits, classes=("a", "b"), note="in metres")


def test_train_spans_zero_to_one_and_the_others_are_clipped_to_it() -> None:
    found = scaled(data([[-2.0, 10.0], [2.0, 30.0], [1.0, 15.0]], [[-3.0, 20.0]], [[0.0, 31.0], [5.0, 9.0]]))
    assert found.train.inputs.tolist() == [[0, 0], [1, 1], [0.75, 0.25]]
    assert found.validation.inputs.tolist() == [[0, 0.5]]
    assert found.test.inputs.tolist() == [[0.5, 1], [1, 0]]


def test_a_feature_that_train_does_not_vary_is_zero_everywhere() -> None:
    found = scaled(data([[3.0, 0.0], [3.0, 1.0]], [[3.0, 0.5]], [[4.0, 0.5], [2.0, 0.5]]))
    for split in (found.train, found.validation, found.test):
        assert split.inputs[:, 0].tolist() == [0] * len(split)


def test_labels_and_names_stay() -> None:
    before = data([[0.0], [1.0], [2.0]], [[1.0]], [[2.0], [0.0]])
    after = scaled(before)
    assert (after.name, after.classes, after.note) == ("measured", ("a", "b"), "in metres")
    assert after.train.labels.tolist() == [0, 1, 0]
    assert after.test.labels.tolist() == [0, 1]
