"""One short hash of what tensors hold."""

import hashlib
from collections.abc import Iterable

from torch import Tensor


def content_hash(tensors: Iterable[Tensor], words: Iterable[str]) -> str:
    """Hash the type, shape and values of each tensor, in order, and some text beside them.

    Returns:
        16 hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256()
    for word in words:
        digest.update(f"{len(word)}:{word}".encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]
