import pytest
import torch
from torch import nn

import retemper.data
from retemper.models import create, predict
from retemper.objectives import CrossEntropy
from retemper.training import retrain


@pytest.fixture(scope="session")
def digits() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """A small network trained on the digits, and 200 test images that it answers rightly."""
    torch.manual_seed(0)
    data = retemper.data.load("digits")
    model = create("small-cnn", shape=data.shape, classes=10)
    retrain(model, data, CrossEntropy(), epochs=10, learning_rate=5e-3, progress=False)
    inputs, labels = data.test.batch(slice(None))
    outputs, _ = predict(model, [(inputs, labels)])
    right = (outputs.argmax(1) == labels).nonzero()[:200, 0]
    assert len(right) == 200
    return model.eval(), inputs[right], labels[right]
