from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Split


@dataclass(frozen=True)
class Small:
    """A tiny network and images, of which it answers all but the first few rightly."""

    model: nn.Module
    split: Split
    wrong: int


@pytest.fixture
def small() -> Small:
    """In float64, with five classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tiny(5).double().eval()
        inputs = torch.rand(30, 1, 3, 3, dtype=torch.float64)
    return answered(model, inputs, wrong=4)


@pytest.fixture
def small_float32() -> Small:
    """In float32, with four classes and more images; in training mode, as a network is when it is built."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tiny(4)
    return answered(model, torch.rand(60, 1, 3, 3, generator=torch.Generator().manual_seed(1)), wrong=10)


def tiny(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, classes))


def answered(model: nn.Module, inputs: Tensor, wrong: int) -> Small:
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(3)
        outputs = model(inputs)
    labels = outputs.argmax(1)
    labels[:wrong] = outputs[:wrong].argmin(1)
    return Small(model, Split(inputs, labels), wrong)


@pytest.fixture(scope="module")
def shorter() -> Iterator[tuple[int, int]]:
    """The official AutoAttack with so many steps and queries alone: in full it takes half a minute a test."""
    from pyautoattack import AutoAttack

    steps, queries = 20, 100
    ordinary = AutoAttack.run_standard_evaluation

    def run(self: Any, *arguments: Any, **options: Any) -> Any:
        self.square.n_queries = queries
        self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = steps
        return ordinary(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoAttack, "run_standard_evaluation", run)
        yield steps, queries
