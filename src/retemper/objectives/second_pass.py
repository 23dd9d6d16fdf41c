"""A second forward pass within a step: of the images moved a little, or of some of them. The model keeps no trace."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retemper.objectives.forward import ForwardPass

BATCH_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def moved(
    forward: ForwardPass, moves: Float[Tensor, "images *shape"], *, differentiable_inputs: bool = False
) -> ForwardPass:
    """The pass of all images moved by so much, with the draws of the first: dropout drops the same units.

    So what differs between the two comes of the moves. Batch normalisation in training mode takes the moved images'
    own mean and variance.
    """
    with unnoticed(forward.model), forward.draws.again() if forward.draws is not None else nullcontext():
        return ForwardPass(
            forward.model,
            forward.given + moves,
            forward.labels,
            differentiable_inputs=differentiable_inputs,
            progress=forward.progress,
        )


def every_nth_image(forward: ForwardPass, every: int) -> tuple[ForwardPass, float]:
    """A pass of every n-th image alone, from a random one of the first n on; and how much a mean over them counts.

    So much that in expectation it is the mean over all images, also where they do not divide evenly. In evaluation mode
    all images count: the pass is the first one, and nothing is drawn.
    """
    every = min(every, len(forward.labels))
    if every == 1 or not forward.model.training:
        return forward, 1.0
    first = int(torch.randint(every, ()))  # on the CPU, so that nothing waits for the device
    labels = forward.labels[first::every]
    with unnoticed(forward.model):
        chosen = ForwardPass(
            forward.model,
            forward.given[first::every],
            labels,
            differentiable_inputs=True,
            progress=forward.progress,
        )
    return chosen, len(labels) * every / len(forward.labels)


@contextmanager
def unnoticed(model: nn.Module) -> Iterator[None]:
    """Run the block without batch normalisation adding what it sees to its running mean and variance."""
    tracking = [
        module
        for module in model.modules()
        if isinstance(module, BATCH_NORMALISATIONS) and module.training and module.track_running_stats
    ]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
