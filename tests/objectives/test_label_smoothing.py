import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from retemper.errors import SettingError
from retemper.evaluation.adaptive import adaptive
from retemper.objectives import CrossEntropy, LabelSmoothing, as_spec, from_spec


@pytest.mark.parametrize("share", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("classes", [2, 5])
def test_it_is_the_cross_entropy_with_targets_that_share_a_part(
    classes: int, share: float, network: Callable[[int], nn.Module], batch: Callable[[int], Any]
) -> None:
    model, (inputs, labels) = network(classes), batch(classes)
    total = 0.0
    for row, label in zip(model(inputs).tolist(), labels.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for place, value in enumerate(row):
            target = share / classes + (1 - share if place == label else 0)
            total += target * (log_sum - value)
    assert LabelSmoothing(share)(model, inputs, labels).item() == pytest.approx(total / len(labels), rel=1e-12)


def test_without_a_share_it_is_cross_entropy(network: Callable[[int], nn.Module], batch: Callable[[int], Any]) -> None:
    found = LabelSmoothing(0)(network(3), *batch(3))
    torch.testing.assert_close(found, CrossEntropy()(network(3), *batch(3)))


def test_attacks_have_a_loss_of_their_own_in_its_place_and_the_share_is_told() -> None:
    assert adaptive(LabelSmoothing(0.1)) is None
    assert repr(from_spec(as_spec(LabelSmoothing(0.25)) or [])) == "LabelSmoothing(share=0.25)"


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="`share`"):
        LabelSmoothing(share)
