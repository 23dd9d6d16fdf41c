from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models.last_layer import features_of, last_layer


class Returning(nn.Module):
    def __init__(self, form: Callable[[Tensor], Any], outputs: int) -> None:
        super().__init__()
        self.head, self.form = nn.Linear(2, outputs), form

    def forward(self, inputs: Tensor) -> Any:
        return self.form(self.head(inputs))


@pytest.mark.parametrize(
    ("form", "outputs"),
    [(lambda logits: (logits, 1), 3), (lambda logits: {"logits": logits}, 2), (lambda logits: logits[:, 0], 1)],
)
def test_the_last_layer_is_found_whatever_the_model_returns(form: Callable[[Tensor], Any], outputs: int) -> None:
    model = Returning(form, outputs)
    assert last_layer(model, torch.randn(3, 2)) is model.head
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_that_ends_otherwise_is_refused_and_left_without_hooks() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with pytest.raises(ModelError, match=r"not the output of an nn\.Linear with a bias"):
        last_layer(model, torch.randn(3, 2))
    assert not any(module._forward_hooks for module in model.modules())


def test_features_are_what_the_layer_is_given_in_evaluation_mode_batch_by_batch() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(2, 5), nn.Dropout(0.9), nn.Tanh())
    model = nn.Sequential(body, nn.Linear(5, 3)).train()
    inputs, labels = torch.randn(7, 2), torch.arange(7)
    batches = zip(inputs.split(3), labels.split(3), strict=True)
    features, numbers = features_of(model, model[1], batches)
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())
    body.eval()
    torch.testing.assert_close(features, body(inputs).detach())
    assert not features.requires_grad
    assert torch.equal(numbers, labels)
