"""What iterated attacks share: clean surroundings for a pure function, and the loss and gradient at a point."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from retemper.attacks.losses import LossFunction
from retemper.errors import GradientError, SettingError
from retemper.models import evaluation_mode, logits
from retemper.models.differentiation import differentiating
from retemper.threats import Threat


class Ascent(NamedTuple):
    """One forward and backward pass: the loss, which images are answered wrongly, and where the loss rises."""

    loss: Float[Tensor, " images"]
    fallen: Bool[Tensor, " images"]
    gradient: Float[Tensor, "images *shape"]


class Extra(Protocol):
    """What else an attack may climb: the model's logits, and a sum over images to add to their losses."""

    def __call__(
        self, model: nn.Module, candidates: Float[Tensor, "images *shape"], labels: Int[Tensor, " images"]
    ) -> tuple[Float[Tensor, "images classes"], Float[Tensor, ""]]:
        """Both out of one forward pass."""


def ascend(
    model: nn.Module,
    candidates: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    loss: LossFunction,
    extra: Extra | None = None,
) -> Ascent:
    """Loss, success and gradient at the candidates, out of one forward pass.

    The gradient is that of the loss and of `extra` together; the loss is reported without it.

    Raises:
        GradientError: the logits cannot be differentiated by the inputs.
        SettingError: a label that is no class of the model.
    """
    candidates = candidates.detach().requires_grad_()
    outputs, also = extra(model, candidates, labels) if extra is not None else (logits(model, candidates), 0.0)
    values, fallen = _judge(model, outputs, labels, loss)
    climbed = values.sum() + also
    gradient = None
    if climbed.requires_grad:
        with differentiating(GradientError):
            (gradient,) = torch.autograd.grad(climbed, candidates, allow_unused=True)
    if gradient is None:
        raise GradientError(
            f"The logits of {type(model).__name__} cannot be differentiated by its inputs, so that no attack that "
            "follows gradients can run; take out of its forward pass what cuts the graph (no_grad, detach, integers)."
        )
    # One NaN would spoil the whole image: zero keeps that coordinate still, and the others go on.
    return Ascent(values.detach(), fallen, gradient.nan_to_num())


def look(
    model: nn.Module,
    candidates: Float[Tensor, "images *shape"],
    labels: Int[Tensor, " images"],
    loss: LossFunction,
) -> tuple[Float[Tensor, " images"], Bool[Tensor, " images"]]:
    """Loss and success at the candidates, where no step follows that would need a gradient."""
    with torch.no_grad():
        return _judge(model, logits(model, candidates), labels, loss)


def _judge(model: nn.Module, outputs: Tensor, labels: Tensor, loss: LossFunction) -> tuple[Tensor, Tensor]:
    check_classes(model, outputs, labels)
    return loss(outputs, labels), wrong(outputs, labels)


def check_classes(model: nn.Module, outputs: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> None:
    """Raise a SettingError for a label that is no class of the model, on the CPU."""
    # An accelerator's own assertion names such labels; asking it at every step would mean waiting for it.
    if labels.device.type == "cpu" and labels.amax() >= outputs.shape[1]:
        raise SettingError(
            f"Expected `labels` below {outputs.shape[1]}, the number of logits of {type(model).__name__}, but got "
            f"{int(labels.amax())}."
        )


def wrong(outputs: Float[Tensor, "images classes"], labels: Int[Tensor, " images"]) -> Bool[Tensor, " images"]:
    """Where the largest logit is not the label's; a NaN counts as a right answer, since it proves nothing."""
    return (outputs.argmax(1) != labels) & outputs.isfinite().all(1)


@contextlib.contextmanager
def surroundings(model: nn.Module) -> Iterator[None]:
    """Run the block with the model in evaluation mode and gradients on; put both back afterwards."""
    # Under inference_mode no graph can be built, so that an attack called there leaves it for its own duration.
    with evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
        yield


def check_batch(inputs: Float[Tensor, "images *shape"], labels: Int[Tensor, " images"], threat: Threat) -> None:
    """Raise a SettingError for inputs outside the bounds or of another dtype, or labels that do not go with them."""
    threat.check_inputs(inputs)
    if labels.shape != inputs.shape[:1] or labels.dtype != torch.int64 or labels.amin() < 0:
        raise SettingError(
            f"Expected `labels` to be {len(inputs)} class numbers of torch.int64, one an input and none below 0, but "
            f"got shape {tuple(labels.shape)} of {labels.dtype}."
        )
