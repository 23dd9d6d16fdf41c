"""Random draws that can be made again: those of dropout, in a second forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Draws:
    """What torch's global generators, on the CPU and on the device, are about to draw."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._states = _states(device)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same once more inside the block; after it the generators are where they were."""
        with as_they_were(self._device):
            _put_back(self._device, self._states)
            yield


@contextmanager
def as_they_were(device: torch.device) -> Iterator[None]:
    """Whatever is drawn in the block, the global generators are afterwards where they were before it."""
    states = _states(device)
    try:
        yield
    finally:
        _put_back(device, states)


def begin_anew(device: torch.device, seed: int) -> None:
    """Seed the global generators on the CPU and on the device, and those of no other device."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        accelerator = torch.get_device_module(device)
        with accelerator.device(device):
            accelerator.manual_seed(seed)


def _states(device: torch.device) -> list[Tensor]:
    if device.type == "cpu":
        return [torch.get_rng_state()]
    return [torch.get_rng_state(), torch.get_device_module(device).get_rng_state(*_which(device))]


def _put_back(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1], *_which(device))


def _which(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # of which there is one alone
