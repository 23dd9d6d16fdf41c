"""The processes that a launcher started (`accelerate launch`, `torchrun`), joined until this one ends."""

import atexit
import os
from datetime import timedelta

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast
from torch import nn

# How long processes wait for one that has more to attack or writes alone: by PyTorch's default of half an hour they
# would give up on a large network. Where one dies, the launcher ends the others.
PATIENCE = timedelta(days=2)


def launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1


def join() -> PartialState:
    """Join the others, on accelerators where there are any; alone, this process is all there is.

    Apple's MPS is none: it has no float64, which distances, projections and the sums over pairs need.

    A group that was begun here is left when the interpreter ends: threads of gloo's may need it while it goes, and
    abort the process after all its work (pytorch/pytorch#190489), here in one run of six.
    """
    begun_before = dist.is_available() and dist.is_initialized()
    # Told of no accelerator, Accelerate takes a launcher's processes for ones that have nothing to do with each other.
    cpu = not torch.accelerator.is_available() or torch.backends.mps.is_available()
    state = PartialState(cpu=cpu, timeout=PATIENCE)
    if not begun_before and state.num_processes > 1:
        atexit.register(state.destroy_process_group)
    return state


def share_buffers(model: nn.Module) -> None:
    """Give every process the first one's: batch statistics are of the images that each saw."""
    broadcast(list(model.buffers()))
