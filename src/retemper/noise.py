"""Random numbers keyed by image: they hang on neither neighbours, batches, devices nor processes."""

import hashlib
import math
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

# SplitMix64 (Steele, Lea & Flood 2014): a counter run through a bijection of 64 bits whose outputs pass BigCrush.
GOLDEN = 0x9E3779B97F4A7C15
MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


@dataclass(frozen=True)
class Noise:
    """One key an image, from which any amount of noise is drawn, the same each time.

    Args:
        keys: one an image, on the device where the noise is drawn.
    """

    keys: Int[Tensor, " images"]

    @classmethod
    def keyed(cls, images: Int[Tensor, " images"], seed: int = 0, name: str = "") -> Self:
        """The noise of these images (by number) for a seed and the name of what draws it."""
        digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
        return cls(_mix(images.to(torch.int64) * _signed(GOLDEN) + int.from_bytes(digest, "little", signed=True)))

    @classmethod
    def drawn(cls, images: int, generator: torch.Generator) -> Self:
        """As many keys out of a generator, on its device."""
        return cls(torch.randint(-(2**63), 2**63 - 1, (images,), generator=generator, device=generator.device))

    @classmethod
    def for_batch(cls, inputs: Float[Tensor, "images *shape"], seed: int = 0) -> Self:
        """The noise of a batch whose images have no numbers of their own: they are counted from 0."""
        return cls.keyed(torch.arange(len(inputs), device=inputs.device), seed)

    def at(self, number: int) -> Self:
        """Other noise for the same images: that of restart or step `number`."""
        return type(self)(_mix(self.keys + _signed(GOLDEN * (2 * number + 1))))

    def __getitem__(self, places: Tensor) -> Self:
        return type(self)(self.keys[places])

    def __len__(self) -> int:
        return len(self.keys)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "images *shape"]:
        """Numbers in [0, 1), of as many digits as the type has."""
        digits = round(1 - math.log2(torch.finfo(dtype).eps))
        return (_shift(self._bits(*shape), 64 - digits).to(dtype)) * 2.0**-digits

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "images *shape"]:
        """Standard normal numbers (Box & Muller 1958)."""
        # Half precision has too few digits to draw in: its angles and tails would be on a grid.
        drawn = dtype if dtype == torch.float64 else torch.float32
        radius = (-2 * torch.log1p(-self.at(0).uniform(*shape, dtype=drawn))).sqrt()
        return (radius * torch.cos(2 * math.pi * self.at(1).uniform(*shape, dtype=drawn))).to(dtype)

    def integers(self, below: int, *shape: int) -> Int[Tensor, "images *shape"]:
        """Integers in [0, below), `below` far under 2**53."""
        return (self.uniform(*shape, dtype=torch.float64) * below).to(torch.int64)

    def _bits(self, *shape: int) -> Int[Tensor, "images *shape"]:
        counters = torch.arange(1, math.prod(shape) + 1, device=self.keys.device) * _signed(GOLDEN)
        return _mix(self.keys[:, None] + counters).view(len(self.keys), *shape)


def _mix(bits: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 wraps around as the unsigned numbers would."""
    bits = (bits ^ _shift(bits, 30)) * _signed(MULTIPLIERS[0])
    bits = (bits ^ _shift(bits, 27)) * _signed(MULTIPLIERS[1])
    return bits ^ _shift(bits, 31)


def _shift(bits: Tensor, places: int) -> Tensor:
    """To the right, with zeros coming in from the left: torch's own shift brings in the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _signed(number: int) -> int:
    """The int64 with the same 64 bits."""
    number %= 1 << 64
    return number - (1 << 64) if number >= 1 << 63 else number
