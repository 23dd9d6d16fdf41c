from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from retemper.evaluation.alarms.gradients import gradient, misleading_gradients
from retemper.evaluation.alarms.subject import Subject
from retemper.noise import Noise
from retemper.threats import L2, Linf, Threat


class Linear(nn.Module):
    """Two logits, linear in the inputs, whose gradient is altered on its way back."""

    def __init__(self, coordinates: int, alter: Callable[[Tensor], Tensor], sigma: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(coordinates, 2, generator=generator, dtype=torch.float64)
        self.alter, self.sigma = alter, sigma

    def forward(self, inputs: Tensor) -> Tensor:
        if inputs.requires_grad:
            inputs = inputs.clone()
            inputs.register_hook(self.alter)
        return (inputs + self.sigma * torch.randn_like(inputs)) @ self.weight


def effect(model: nn.Module, threat: Threat, coordinates: int) -> float:
    inputs = torch.rand(50, coordinates, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.zeros(50, dtype=torch.int64)
    subject = Subject.of(model, model, inputs, labels, threat, Noise.for_batch(inputs))
    return misleading_gradients(subject, gradient(subject)).effect


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5)], ids=str)
@pytest.mark.parametrize("coordinates", [4, 3000])
def test_a_linear_loss_changes_as_its_gradient_says_and_against_the_gradient_turned_round(
    coordinates: int, threat: Threat
) -> None:
    assert effect(Linear(coordinates, lambda slope: 1e-3 * slope), threat, coordinates) == 0
    assert effect(Linear(coordinates, lambda slope: -slope), threat, coordinates) == 1


def test_noise_alone_does_not_make_a_gradient_mislead() -> None:
    assert effect(Linear(100, lambda slope: slope, sigma=1.0), Linf(0.1), 100) == 0


def test_a_gradient_of_other_coordinates_misleads_however_many_there_are() -> None:
    # Chance agreement of 16 directions reaches a cosine of 0.3 for about one image in eight.
    for coordinates in (100, 3000):
        assert effect(Linear(coordinates, lambda slope: slope.flip(-1)), Linf(0.1), coordinates) > 0.7
