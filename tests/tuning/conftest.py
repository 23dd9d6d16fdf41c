import pytest
import torch
from torch import nn

from retemper.data import Data, load
from retemper.models import create
from retemper.objectives import CrossEntropy
from retemper.training import retrain


@pytest.fixture(scope="module")
def data() -> Data:
    return load("digits", classes=("3", "8"))


@pytest.fixture(scope="module")
def trained(data: Data) -> nn.Module:
    torch.manual_seed(0)
    model = create("mlp", shape=data.shape, classes=2)
    retrain(model, data, CrossEntropy(), epochs=15, progress=False)
    return model
