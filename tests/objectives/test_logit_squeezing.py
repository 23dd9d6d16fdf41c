from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from retemper.objectives import CrossEntropy, LogitSqueezing, as_spec, from_spec


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_it_is_the_mean_over_images_of_the_sum_of_squared_logits(
    outputs: int, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(outputs), batch(max(outputs, 2))
    squares = [sum(value**2 for value in row) for row in model(inputs).tolist()]
    assert LogitSqueezing()(model, inputs, labels).item() == pytest.approx(sum(squares) / len(squares), rel=1e-12)


def test_its_specification_is_read_back() -> None:
    objective = CrossEntropy() + 0.5 * LogitSqueezing()
    assert repr(from_spec(as_spec(objective) or [])) == repr(objective)
