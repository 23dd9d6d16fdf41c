"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from retemper.errors import ModelError

OPTIMISERS: dict[str, Callable[[Iterable[nn.Parameter], float, float], torch.optim.Optimizer]] = {
    "adam": lambda parameters, rate, decay: torch.optim.Adam(parameters, rate, weight_decay=decay),
    "adamw": lambda parameters, rate, decay: torch.optim.AdamW(parameters, rate, weight_decay=decay),
    "sgd": lambda parameters, rate, decay: torch.optim.SGD(
        parameters, rate, momentum=0.9, nesterov=True, weight_decay=decay
    ),
}
LEARNING_RATES = {"adam": 1e-3, "adamw": 1e-3, "sgd": 0.05}

# The share of the highest learning rate that is in force when a share in [0, 1) of the training is done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "constant": lambda _done: 1.0,
    "linear": lambda done: 1 - done,
    "one-cycle": lambda done: done / 0.3 if done < 0.3 else 0.5 * (1 + math.cos(math.pi * (done - 0.3) / 0.7)),
}


def build(model: nn.Module, name: str, rate: float, decay: float) -> torch.optim.Optimizer:
    """The optimiser of this name over the parameters that are not frozen.

    Raises:
        ModelError: all are, or there are none.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ModelError(
            f"Expected {type(model).__name__} to have parameters to train, but of its {len(list(model.parameters()))} "
            "none requires a gradient."
        )
    return OPTIMISERS[name](trained, rate, decay)
