from dataclasses import dataclass

import pytest
import torch
from torch import nn

from retemper.data import Split


@dataclass(frozen=True)
class Small:
    """A tiny network in float64 and images, of which it answers all but the first few rightly."""

    model: nn.Module
    split: Split
    wrong: int


@pytest.fixture
def small() -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 5)).double().eval()
        inputs = torch.rand(30, 1, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3)
        outputs = model(inputs)
    labels = outputs.argmax(1)
    labels[:4] = outputs[:4].argmin(1)
    return Small(model, Split(inputs, labels), 4)
