import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from retemper.objectives import CrossEntropy


@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_the_mean_of_minus_log_softmax(
    classes: int, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(classes), batch(classes)
    losses = []
    for row, label in zip(model(inputs).tolist(), labels.tolist(), strict=True):
        losses.append(math.log(sum(math.exp(value) for value in row)) - row[label])
    assert CrossEntropy()(model, inputs, labels).item() == pytest.approx(sum(losses) / len(losses), rel=1e-12)


def test_huge_logits_do_not_overflow() -> None:
    loss = CrossEntropy()(nn.Identity(), torch.tensor([[1e30, -1e30], [0.0, 1e30]]), torch.tensor([0, 1]))
    assert loss.item() == 0
