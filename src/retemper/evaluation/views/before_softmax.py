"""The logits of a model that returns probabilities."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from retemper.models import logits

LINKS = {"softmax", "sigmoid", "expit"}


class BeforeSoftmax(nn.Module):
    """What goes into the softmax or sigmoid that a model ends with; the log of its outputs if it is not to be seen.

    Both keep the order of the classes. The log of a probability that float32 has rounded to 0 or 1 has no
    gradient left, what went into the softmax still has.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Float[Tensor, "images *shape"]) -> Float[Tensor, "images classes"]:
        """The logits."""
        with _Watch() as watch:
            outputs = logits(self.model, inputs)
        for before, after in reversed(watch.seen):
            if before.shape == outputs.shape and torch.equal(after, outputs):
                return before
        return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()


class _Watch(TorchFunctionMode):
    """Keeps what goes into every softmax and sigmoid, and what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in LINKS:
            self.seen.append((args[0] if args else (kwargs or {})["input"], result))
        return result
