"""Differential training of a network's last layer on features that are kept as they are."""

import torch
from torch import nn

from retemper.checks import is_a
from retemper.data import Split
from retemper.errors import DataError, ModelError
from retemper.margins.fit import fit_margin
from retemper.margins.linear import LinearMargin
from retemper.models.last_layer import features_of, last_layer


def fit_last_layer(model: nn.Module, train: Split, *, tolerance: float = 1e-6, batch_size: int = 512) -> LinearMargin:
    """Replace the last layer's weights and biases by those of `fit_margin` on the features that it is given.

    All other weights stay. A network with two outputs gets half of the score of class 1 in one and minus that half
    in the other.

    Args:
        model: ends in an `nn.Linear` with a bias; has one output a class, or one for two classes.
        train: with an image of every class.
        tolerance: as of `fit_margin`.
        batch_size: images shown to the network at a time.

    Returns:
        The classifier in float64, with its margin in the space of these features.

    Raises:
        ModelError: the logits are not the output of an `nn.Linear` with a bias, or it makes its weight or bias of
            others (`weight_norm`, an orthogonal layer), so that none can be set.
        DataError: a feature is not finite, or a class has no image.
        DivergenceError: as of `fit_margin`.
        SettingError: `train` is no split.
    """
    is_a(Split, "take one of the data, such as data.train", train=train)
    last = last_layer(model, train.take(2).batch(slice(None))[0])
    made = [name for name in ("weight", "bias") if name not in last._parameters]
    if made:
        raise ModelError(
            f"Expected a last layer that holds its weight and bias, but {type(model).__name__} makes the "
            f"{' and '.join(made)} of its own out of others, as weight_norm does. Remove that first, as with "
            "torch.nn.utils.parametrize.remove_parametrizations."
        )
    features, labels = features_of(model, last, train.batches(batch_size))
    found = fit_margin(features, labels, tolerance=tolerance)
    weight, bias = found.weight, found.bias
    if last.out_features == 2:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    if len(weight) != last.out_features:
        raise DataError(
            f"Expected images of every class that {type(model).__name__} knows ({last.out_features}), "
            f"but the labels go to {int(labels.max())} only."
        )
    with torch.no_grad():
        last.weight.copy_(weight)
        last.bias.copy_(bias)
    return found
