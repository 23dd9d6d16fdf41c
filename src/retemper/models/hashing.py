"""One short hash of what a model has learnt."""

import hashlib

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
