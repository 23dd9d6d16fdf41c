"""The linear layer that a network ends in, and the features that it is given."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.errors import ModelError
from retemper.models.inference import device_of, evaluation_mode, logits


def last_layer(model: nn.Module, inputs: Float[Tensor, "images *shape"]) -> nn.Linear:
    """Find the linear layer whose output is what the model returns.

    Args:
        model: any classifier; its mode and weights stay as they are.
        inputs: a few, to see which layer it is.

    Raises:
        ModelError: the logits are not the output of an `nn.Linear` with a bias.
    """
    outputs: list[tuple[nn.Linear, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda layer, _inputs, output: outputs.append((layer, output)))
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.bias is not None
    ]
    try:
        with evaluation_mode(model), torch.no_grad():
            returned = logits(model, inputs.to(device_of(model), copy=True))
    finally:
        for handle in handles:
            handle.remove()
    for layer, output in reversed(outputs):
        if output is returned or (layer.out_features == 1 and torch.equal(output.reshape(-1), returned[:, -1])):
            return layer
    raise ModelError(
        f"Differential training sets the last layer itself, or its biases, but what {type(model).__name__} returns is "
        "not the output of an nn.Linear with a bias. End the network with one."
    )


def features_of(
    model: nn.Module, layer: nn.Linear, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Float[Tensor, "images features"], Tensor]:
    """What a layer is given, and the labels, over batches of (inputs, labels), in evaluation mode, no gradients."""
    given: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _layer, inputs: given.append(inputs[0]))
    labels: list[Tensor] = []
    device = device_of(model)
    try:
        with evaluation_mode(model), torch.no_grad():
            for inputs, numbers in batches:
                logits(model, inputs.to(device, copy=True))
                labels.append(numbers.to(device))
    finally:
        handle.remove()
    return torch.cat(given), torch.cat(labels)
