from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from retemper.data import Data, load
from retemper.models import Network, create
from retemper.training.checkpoints import Checkpoints


@pytest.fixture(scope="session")
def digits() -> Data:
    return load("digits")


@pytest.fixture
def network(digits: Data) -> Network:
    torch.manual_seed(0)
    return create("mlp", shape=digits.shape, classes=10)


class Centring(nn.Module):
    """It takes a running mean from its inputs, which it keeps in a buffer that is not saved."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.register_buffer("mean", torch.zeros(64), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.flatten(1)
        if self.training:
            self.mean.mul_(0.9).add_(0.1 * inputs.detach().mean(0))
        return self.layer(inputs - self.mean)


@pytest.fixture
def centring() -> Centring:
    torch.manual_seed(0)
    return Centring()


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture
def killed_after() -> Callable[[int], AbstractContextManager[None]]:
    """A block in which the run dies right after the checkpoint of that epoch is written."""

    @contextmanager
    def block(epochs: int) -> Iterator[None]:
        save = Checkpoints.save

        def save_then_die(self: Checkpoints, *arguments: object) -> Path:
            path = save(self, *arguments)
            if path.name == f"epoch-{epochs:05d}":
                raise KilledError
            return path

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoints, "save", save_then_die)
            with pytest.raises(KilledError):
                yield

    return block
