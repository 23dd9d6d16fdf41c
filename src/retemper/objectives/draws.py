"""Random draws that can be made again: those of dropout, in a second forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Draws:
    """What torch's global generators, on the CPU and on the device, are about to draw."""

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if self._device is not None else None

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same once more inside the block; after it the generators are where they were."""
        with torch.random.fork_rng([] if self._device is None else [self._device]):
            torch.set_rng_state(self._cpu)
            if self._device is not None and self._cuda is not None:
                torch.cuda.set_rng_state(self._cuda, self._device)
            yield
