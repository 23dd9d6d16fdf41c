"""Counting the work of an attack: forward and backward passes, in images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass
class Passes:
    """How many images have gone through a model, and how many gradients have come back to them."""

    forwards: int = 0
    backwards: int = 0


@contextmanager
def counting(model: nn.Module) -> Iterator[Passes]:
    """Count what goes through a model inside the block, and through copies of it that are made there.

    A backward pass counts when it reaches the inputs, each time that it does: several through one graph are several.
    The model is no other than before, by its weights, its names and what it returns.

    >>> import torch
    >>> model = nn.Linear(3, 2)
    >>> with counting(model) as passes:
    ...     model(torch.zeros(5, 3, requires_grad=True)).sum().backward()
    >>> passes
    Passes(forwards=5, backwards=5)
    """
    passes = Passes()

    def back(gradient: Tensor) -> None:
        passes.backwards += len(gradient)

    # Functions, which copies of a model share, and no methods, which would be copied with what they count in.
    def before(_model: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        inputs, *others = given
        passes.forwards += len(inputs)
        # A view, since a hook on the caller's own tensor would outlive this pass.
        seen = inputs.view_as(inputs)
        if seen.requires_grad:
            seen.register_hook(back)
        return seen, *others

    handle = model.register_forward_pre_hook(before)
    try:
        yield passes
    finally:
        handle.remove()
