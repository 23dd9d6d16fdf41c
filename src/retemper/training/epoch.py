"""One pass over the training data."""

import hashlib
import time
from collections.abc import Callable

import torch
from accelerate import Accelerator
from torch import nn

from retemper.data import AUGMENTATIONS, Split
from retemper.models.differentiation import differentiating
from retemper.objectives import Objective
from retemper.objectives.draws import as_they_were, begin_anew
from retemper.objectives.second_pass import BATCH_NORMALISATIONS, INSTANCE_NORMALISATIONS
from retemper.training.ledger import Ledger
from retemper.training.optimisers import SCHEDULES
from retemper.training.precision import autocast
from retemper.training.settings import Settings


def steps_per_epoch(images: int, batch_size: int) -> int:
    """How many steps an epoch has; its batches differ by one image at most, so that none is tiny."""
    return -(-images // batch_size)


def train_epoch(
    accelerator: Accelerator,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    train: Split,
    settings: Settings,
    *,
    epoch: int,
    precision: str,
    wide: bool,
    kept: str,
    after_step: Callable[[int], None],
) -> dict[str, float]:
    """Go once over the data; the mean of every term of the loss, the last learning rate and the seconds.

    All randomness, torch's global generator included, starts anew from (seed, epoch), so that a resumed
    run draws what an uninterrupted one does; the caller's global generator is left as it was. Inputs are in
    the channels-last layout where they are `wide`.

    Raises:
        ModelError: the model does not run on the data, or cannot be differentiated as the objective asks.
        DivergenceError: a term of the loss is NaN or infinite.
    """
    device = accelerator.device
    steps = steps_per_epoch(len(train), settings.batch_size)
    augment = AUGMENTATIONS[settings.augmentation]
    ledger = Ledger(device, epoch + 1, kept)
    # Every process draws the same order and takes its own part of each batch.
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(_seed(settings.seed, epoch)))
    own_seed = _seed(settings.seed, epoch, accelerator.process_index)
    generator = torch.Generator(device).manual_seed(own_seed)
    started = time.perf_counter()
    rate = settings.rate
    # A loss with a gradient by the inputs has a graph to them: a gradient by them that nobody reads would cost a tenth
    # of a step. Not for all, since reentrant checkpoints do not bear it.
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    only = {"inputs": trained} if objective.differentiates_inputs else {}
    with as_they_were(device):
        begin_anew(device, own_seed)
        _to_training_mode(model)
        for step, index in enumerate(order.tensor_split(steps)):
            mine = index.tensor_split(accelerator.num_processes)[accelerator.process_index]
            inputs, labels = train.batch(mine)
            inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            inputs = augment(inputs, generator)
            if wide:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            done = (epoch * steps + step) / (settings.epochs * steps)
            rate = settings.rate * SCHEDULES[settings.schedule](done)
            for group in optimiser.param_groups:
                group["lr"] = rate
            with autocast(precision, device):
                loss = objective.compute(model, inputs, labels, progress=done, generator=generator)
            ledger.add(loss)
            optimiser.zero_grad()
            with differentiating():
                accelerator.backward(loss.total, **only)
            optimiser.step()
            after_step(1)
        means = ledger.close()
    if accelerator.num_processes > 1:
        shared = accelerator.reduce(torch.tensor(list(means.values()), device=device), reduction="mean")
        means = dict(zip(means, shared.tolist(), strict=True))
    return {**means, "learning_rate": rate, "seconds": time.perf_counter() - started}


def _to_training_mode(model: nn.Module) -> None:
    """All of it, but for normalisations that somebody has frozen: in evaluation mode, no parameter to be trained."""
    frozen = [
        module
        for module in model.modules()
        if isinstance(module, BATCH_NORMALISATIONS + INSTANCE_NORMALISATIONS)
        and not module.training
        and module.weight is not None
        and not any(parameter.requires_grad for parameter in module.parameters())
    ]
    model.train()
    for module in frozen:
        module.eval()


def _seed(*parts: int) -> int:
    """One seed out of several numbers, different for different numbers."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
