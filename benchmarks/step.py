"""One training step on random images, of the entropic paper's network unless another is asked for."""

from collections.abc import Callable

import torch

from retemper.models import create
from retemper.objectives import Objective
from retemper.training.precision import autocast

BATCH = 128
SHAPE = (3, 32, 32)
CLASSES = 10


def batch(classes: int = CLASSES, shape: tuple[int, ...] = SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images and labels: the time of a step does not hang on what they show."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(BATCH, *shape, generator=generator)
    return inputs, torch.randint(classes, (BATCH,), generator=generator)


def step(
    objective: Objective,
    precision: str = "fp32",
    *,
    channels_last: bool = True,
    network: str = "entropic-cnn",
    activation: str = "relu",
    classes: int = CLASSES,
    shape: tuple[int, ...] = SHAPE,
) -> Callable[[], None]:
    """A function that takes one step of Adam on the objective, on a network of its own."""
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = create(network, shape=shape, classes=classes, activation=activation)
    model.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub forgets it
    inputs, labels = batch(classes, shape)
    inputs = inputs.contiguous(memory_format=layout)
    optimiser = torch.optim.Adam(model.parameters())
    only = list(model.parameters()) if objective.differentiates_inputs else None  # as `train_epoch` has it

    def take() -> None:
        with autocast(precision, inputs.device):
            loss = objective(model, inputs, labels)
        optimiser.zero_grad()
        loss.backward(inputs=only)
        optimiser.step()

    return take
