"""Whether a model and a data set belong together."""

from torch import nn

from retemper.data import Data
from retemper.errors import DataError, ModelError
from retemper.models import predict


def check_fit(model: nn.Module, data: Data) -> None:
    """Look at the data and run two images through the model before hours are spent on it.

    Raises:
        DataError: a label for training or validation is none of the classes, or an input is NaN or infinite.
        ModelError: the model does not take such inputs, has another number of classes, or returns NaN.
    """
    for name in ("train", "validation"):
        split = data.split(name)
        low, high = int(split.labels.min()), int(split.labels.max())
        if low < 0 or high >= len(data.classes):
            raise DataError(
                f"Expected labels from 0 to {len(data.classes) - 1}, as {data.name} has {len(data.classes)} classes, "
                f"but its {name} split has some from {low} to {high}."
            )
        if split.inputs.is_floating_point() and (bad := int((~split.inputs.isfinite()).flatten(1).any(1).sum())):
            raise DataError(
                f"Expected finite inputs, but {bad} of {len(split)} in the {name} split of {data.name} hold NaN or "
                "infinity. Leave these out, or fill them in."
            )
    outputs, _ = predict(model, data.train.take(2).batches(2))
    if outputs.shape[1] != len(data.classes):
        raise ModelError(
            f"{type(model).__name__} returns {outputs.shape[1]} logits, but {data.name} has {len(data.classes)} "
            "classes; take the model that belongs to these classes, or name the classes that it was trained on."
        )
