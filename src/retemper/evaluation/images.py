"""The images of an evaluation: they stay where their split is, and go to the model a chunk at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from retemper.data import Split


@dataclass(frozen=True)
class Chunk:
    """Which images of a split go through the model together: from one place to before another."""

    number: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """Of the piece that keeps what is found on it."""
        return f"chunk-{self.number:05d}"


def divided(images: int, size: int) -> list[Chunk]:
    """So many images in chunks of a fixed size, the last one smaller."""
    starts = range(0, images, size)
    return [Chunk(number, start, min(start + size, images)) for number, start in enumerate(starts)]


@dataclass(frozen=True)
class Loaded:
    """Some images on the model's device, with their labels and their places in the split."""

    inputs: Float[Tensor, "images *shape"]
    labels: Int[Tensor, " images"]
    places: Int[Tensor, " images"]


@dataclass(frozen=True)
class Images:
    """A split, and how a model takes its images.

    Args:
        split: on any device, where it stays.
        device: the model's.
        dtype: the model's.
        layout: of images in memory.
    """

    split: Split
    device: torch.device
    dtype: torch.dtype
    layout: torch.memory_format = torch.contiguous_format

    def of(self, chunk: Chunk) -> Loaded:
        """The images of a chunk."""
        return self._loaded(slice(chunk.start, chunk.stop), torch.arange(chunk.start, chunk.stop))

    def at(self, places: Int[Tensor, " images"]) -> Loaded:
        """The images at these places."""
        return self._loaded(places.to(self.split.inputs.device), places)

    def _loaded(self, index: slice | Int[Tensor, " images"], places: Int[Tensor, " images"]) -> Loaded:
        # Bytes become floats where they are, mostly on the CPU, as in training: other devices may round otherwise.
        inputs, labels = self.split.batch(index)
        # A copy, which no model that writes into its inputs spoils, and through which gradients go also where the
        # images were made under inference_mode.
        return Loaded(
            inputs.to(self.device, self.dtype, copy=True, memory_format=self.layout),
            labels.to(self.device, copy=True),
            places.to(self.device),
        )
