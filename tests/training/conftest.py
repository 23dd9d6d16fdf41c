import pytest
import torch

from retemper.data import Data, load
from retemper.models import Network, create


@pytest.fixture(scope="session")
def digits() -> Data:
    return load("digits")


@pytest.fixture
def network(digits: Data) -> Network:
    torch.manual_seed(0)
    return create("mlp", shape=digits.shape, classes=10)
