"""Short hashes of what a model is and of what it has learnt."""

import hashlib
import re

import torch
from torch import Tensor, nn

from retemper.models.state import unsaved_buffers


def weights_hash(model: nn.Module) -> str:
    """Hash the names and values of all weights and buffers, those among them that are not saved.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, value in {**model.state_dict(), **unsaved_buffers(model)}.items():
        digest.update(name.encode())
        if isinstance(value, Tensor):
            # As bytes, since NumPy does not know all types.
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:  # what a module adds of its own
            digest.update(repr(value).encode())
    return digest.hexdigest()


def architecture_hash(model: nn.Module) -> str:
    """Hash what the model prints: its modules and their settings, with and without weights.

    Two models of equal weights may differ in nothing else, as in their activations. What a module does not print, such
    as a function that its `forward` calls, is not in it.

    Returns:
        16 hexadecimal digits.
    """
    printed = re.sub(r" at 0x[0-9a-f]+", "", repr(model))  # where an object lies in memory is no setting
    return hashlib.blake2b(printed.encode(), digest_size=8).hexdigest()
