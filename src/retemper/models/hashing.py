"""Short hashes of what a model is and of what it has learnt."""

import hashlib
import re

from torch import nn


def weights_hash(model: nn.Module) -> str:
    """Hash the names and values of all weights.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
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
