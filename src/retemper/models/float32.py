"""Float32 that is float32: without the shortcuts that PyTorch takes, or is told to take, with its products."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exact_float32() -> Iterator[None]:
    """Run the block without TF32, which keeps 10 bits of a factor, and without bfloat16 in its place on CPUs.

    By default convolutions take TF32 on GPUs from Ampere on: what breaks an image by a hair then may not break it on
    another machine, and what rounds by a thousandth is beyond what certificates allow for.
    """
    try:
        kept = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # it was set by the newer names, which PyTorch will not have mixed with these
        with _by_newer_names():
            yield
        return
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(kept[0])
        torch.backends.cudnn.allow_tf32 = kept[1]


@contextmanager
def _by_newer_names() -> Iterator[None]:
    backends: Any = torch.backends
    places = [
        backends.cuda.matmul,
        *[getattr(backend, kind) for backend in (backends.cudnn, backends.mkldnn) for kind in ("conv", "rnn")],
        backends.mkldnn.matmul,
    ]
    kept = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee"
    try:
        yield
    finally:
        for place, precision in zip(places, kept, strict=True):
            place.fp32_precision = precision
