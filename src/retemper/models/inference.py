"""Running a model: its logits whatever it returns, its predictions batch by batch, its mode left as it was."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.errors import ModelError, NotFiniteError, RetemperError


def logits(model: nn.Module, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
    """The model's logits, out of a tensor, a tuple's first entry, or a `logits` key or attribute.

    A single output an image is read as the score of class 1 against class 0.

    Raises:
        ModelError: the model cannot run on inputs of this shape, or returns nothing that looks like logits.
    """
    try:
        outputs = model(inputs)
    except (torch.OutOfMemoryError, RetemperError):
        raise
    except Exception as error:  # a user's own code may raise anything
        raise ModelError(
            f"{type(model).__name__} failed on inputs of shape {tuple(inputs.shape)} and {inputs.dtype}: "
            f"{type(error).__name__}: {error}"
        ) from error
    return _as_logits(outputs, len(inputs), type(model).__name__)


def _as_logits(returned: Any, images: int, model_name: str) -> Tensor:
    outputs = returned
    if isinstance(returned, Mapping):
        outputs = returned.get("logits")
    elif hasattr(returned, "logits"):
        outputs = returned.logits
    elif isinstance(returned, tuple | list) and returned:
        outputs = returned[0]
    if isinstance(outputs, Tensor):
        found = f"shape {tuple(outputs.shape)} of {outputs.dtype}"
        usable = outputs.dim() in (1, 2) and len(outputs) == images and outputs.is_floating_point()
    else:
        found, usable = type(returned).__name__, False
    if not usable:
        raise ModelError(
            f"Expected {model_name} to return logits of shape ({images}, classes) in floats, or a tuple or dict with "
            f"them first or under 'logits', but got {found}."
        )
    if outputs.dim() == 1 or outputs.shape[1] == 1:
        score = outputs.reshape(-1)
        return torch.stack([torch.zeros_like(score), score], dim=1)
    return outputs


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and each of its modules back into its own mode afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lives; the CPU for a model that has none."""
    return next((tensor.device for tensor in [*model.parameters(), *model.buffers()]), torch.device("cpu"))


def predict(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Float[Tensor, "images classes"], Tensor]:
    """Logits (on the model's device) and labels over batches of (inputs, labels), in evaluation mode, no gradients.

    Raises:
        NotFiniteError: a logit is NaN or infinite; the parameters that are, if any, are named.
    """
    device = device_of(model)
    with evaluation_mode(model), torch.no_grad():
        # A copy: a model may write into its inputs, and batches of a split are views of it.
        parts = [(logits(model, inputs.to(device, copy=True)), labels.to(device)) for inputs, labels in batches]
    outputs, labels = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    check_finite(model, outputs)
    return outputs, labels


def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The share of images that are answered rightly, in [0, 1], over batches of (inputs, labels).

    Raises:
        NotFiniteError: a logit is NaN or infinite.
    """
    outputs, labels = predict(model, batches)
    return float((outputs.argmax(1) == labels).cpu().double().mean())  # Apple's MPS has no float64


def check_finite(model: nn.Module, outputs: Float[Tensor, "images classes"]) -> None:
    """Raise a NotFiniteError where outputs are NaN or infinite, naming the first parameter to blame."""
    bad = int((~outputs.isfinite().all(1)).sum())
    if bad:
        tensors = [*model.named_parameters(), *model.named_buffers()]
        broken = [name for name, value in tensors if not value.isfinite().all()]
        cause = f"the weights {broken[0]!r} hold NaN or infinity" if broken else "its weights are finite"
        raise NotFiniteError(
            f"{type(model).__name__} returns NaN or infinite logits on {bad} of {len(outputs)} inputs; {cause}."
        )
