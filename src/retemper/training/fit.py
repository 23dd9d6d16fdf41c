"""Whether a model and a data set belong together."""

from torch import nn

from retemper.data import Data
from retemper.errors import ModelError
from retemper.models import predict


def check_fit(model: nn.Module, data: Data) -> None:
    """Run two images through the model before hours are spent on it.

    Raises:
        ModelError: it does not take such inputs, has another number of classes, or returns NaN.
    """
    outputs, _ = predict(model, data.train.take(2).batches(2))
    if outputs.shape[1] != len(data.classes):
        raise ModelError(
            f"{type(model).__name__} returns {outputs.shape[1]} logits, but {data.name} has {len(data.classes)} "
            "classes; take the model that belongs to these classes, or name the classes that it was trained on."
        )
