from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split
from retemper.data.digits import read_digits

Network = Callable[[int], nn.Sequential]
Batch = tuple[Tensor, Tensor]


@pytest.fixture
def network() -> Network:
    """Builds a small smooth network in float64 for inputs of five numbers, with any number of outputs."""

    def build(outputs: int) -> nn.Sequential:
        torch.manual_seed(outputs)
        return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), nn.Softplus(), nn.Linear(3, outputs)).double()

    return build


@pytest.fixture
def batch() -> Callable[[int], Batch]:
    """Draws seven inputs and labels out of so many classes, each of which appears."""

    def draw(classes: int) -> Batch:
        generator = torch.Generator().manual_seed(classes)
        return torch.rand(7, 5, generator=generator, dtype=torch.float64), torch.arange(7) % classes

    return draw


@pytest.fixture(scope="session")
def digits() -> Split:
    """The first 600 digits of scikit-learn."""
    return read_digits().splits["train"].take(600)
