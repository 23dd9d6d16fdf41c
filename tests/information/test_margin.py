import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retemper.errors import DataError
from retemper.information import margin


@given(st.integers(0, 10**6), st.integers(2, 5))
@settings(deadline=None, max_examples=30)
def test_it_is_the_smallest_distance_to_a_boundary_by_a_loop(seed: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    labels = torch.arange(7) % classes
    weight = torch.randn(classes, 3, generator=generator, dtype=torch.float64)
    bias = torch.randn(classes, generator=generator, dtype=torch.float64)
    expected = min(
        float((weight[y] - weight[k]) @ x + bias[y] - bias[k]) / float((weight[y] - weight[k]).norm())
        for x, y in zip(features, labels.tolist(), strict=True)
        for k in range(classes)
        if k != y
    )
    assert margin(features, labels, weight, bias) == pytest.approx(expected)


def test_a_single_row_is_the_score_of_class_1() -> None:
    features, labels = torch.tensor([[0.0, 9.0], [5.0, -9.0]]), torch.tensor([0, 1])
    weight, bias = torch.tensor([[2.0, 0.0]]), torch.tensor([-4.0])
    assert margin(features, labels, weight, bias) == 2
    for dtype in (torch.uint8, torch.int16, torch.bool):
        assert margin(features, labels.to(dtype), weight, bias) == 2
    assert margin(features, 1 - labels, weight, bias) == -3


def test_without_a_boundary_the_distance_is_infinite_or_zero() -> None:
    features, labels = torch.eye(2), torch.tensor([0, 0])
    weight = torch.ones(2, 2)
    assert margin(features, labels, weight, torch.tensor([1.0, 0.0])) == math.inf
    assert margin(features, labels, weight, torch.tensor([0.0, 1.0])) == -math.inf
    assert margin(features, labels, weight, torch.zeros(2)) == 0


def test_what_does_not_fit_together_is_an_error() -> None:
    with pytest.raises(DataError, match=r"\(2, 2\), \(1, 3\)"):
        margin(torch.eye(2), torch.arange(2), torch.ones(1, 3), torch.zeros(1))
    with pytest.raises(DataError, match=r"\[0, 1\] for each of 2 images, but got 2 labels from 0 to 2"):
        margin(torch.eye(2), torch.tensor([0, 2]), torch.ones(1, 2), torch.zeros(1))
