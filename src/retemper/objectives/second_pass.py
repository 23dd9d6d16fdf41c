"""A second forward pass within a step: of the images moved a little, or of some of them. The model keeps no trace."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from retemper.objectives.forward import ForwardPass

BATCH_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE_NORMALISATIONS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


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
    """Run the block without a trace: running statistics stay, and spectral norms do not step on.

    These take a step of power iteration at every pass in training mode, and with it the weights are others. Layers in a
    checkpoint are run again by torch when the pass is differentiated, after the block, and then take their step and
    what they were shown into their statistics, as they do in any checkpoint.
    """
    quiet: list[tuple[nn.Module, str, Any]] = []
    for module in model.modules():
        if module.training and isinstance(module, BATCH_NORMALISATIONS + INSTANCE_NORMALISATIONS):
            # Copies take the trace. Told not to track, a layer would keep other tensors for its backward pass than it
            # makes when a checkpoint runs it again, after this block.
            quiet.extend((module, name, kept.clone()) for name, kept in module.named_buffers(recurse=False))
        if module.training and _iterates(module):
            quiet.append((module, "training", False))
    loud = [(module, name, getattr(module, name)) for module, name, _ in quiet]
    for settings in quiet:
        setattr(*settings)
    try:
        yield
    finally:
        for settings in loud:
            setattr(*settings)


def _iterates(module: nn.Module) -> bool:
    """Whether its mode says that a spectral norm steps on: as a parametrisation, or by the hook of older code."""
    return isinstance(module, _SpectralNorm) or any(
        isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values()
    )
