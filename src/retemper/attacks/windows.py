"""Where square attack looks next: patterns and changes in windows of a signal (Andriushchenko et al. 2020, 1912.00049).

A signal is an image with its channels first and then any number of axes; a window is a cube in these axes: a run
of features in one of them, a square in two.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from retemper.noise import Noise
from retemper.threats import Threat, per_image


def side_of(share: float, axes: tuple[int, ...]) -> int:
    """The side of a window that covers this share of a signal, as far as one fits.

    >>> side_of(0.25, (28, 28)), side_of(0.1, (64,)), side_of(0.001, (8, 8))
    (14, 6, 1)
    """
    return min(max(round((share * math.prod(axes)) ** (1 / len(axes))), 1), *axes)


def odd_side_of(share: float, axes: tuple[int, ...]) -> int:
    """The same, but odd and at least 3 where that fits, so that a pattern has a middle."""
    return min(max(side_of(share, axes), 3) // 2 * 2 + 1, *axes)


def stripes(inputs: Float[Tensor, "images channels *axes"], noise: Noise) -> Float[Tensor, "images channels *axes"]:
    """Random signs that hold along all axes but the last: vertical stripes of an image."""
    _, channels, *axes = inputs.shape
    return _signs(noise, inputs, channels, *[1] * (len(axes) - 1), axes[-1]).expand_as(inputs)


def tiles(inputs: Float[Tensor, "images channels *axes"], noise: Noise) -> Float[Tensor, "images channels *axes"]:
    """Two-sided patterns with random signs, five or so along each axis."""
    _, channels, *axes = inputs.shape
    side = max(min(axes) // 5, 1)
    counts = [size // side for size in axes]
    numbers, places, inside = [], [], []
    for axis, size in enumerate(axes):
        place = _coordinates(inputs, axis) - size % side // 2
        inside.append((place >= 0) & (place < size // side * side))
        numbers.append((place // side).clamp(0, counts[axis] - 1))
        places.append(place % side)
    orientations = noise.at(0).integers(len(axes), 1, *counts)
    signs = _signs(noise.at(1), inputs, channels, *counts)
    tile: tuple[slice | Tensor, ...] = (slice(None), slice(None), *[number[0, 0] for number in numbers])
    pattern = two_sided(side, len(axes)).to(inputs)[(orientations[tile], *places)]
    return pattern * signs[tile] * _all(inside)


def repaint(
    best: Float[Tensor, "images channels *axes"],
    inputs: Float[Tensor, "images channels *axes"],
    threat: Threat,
    side: int,
    noise: Noise,
) -> Float[Tensor, "images channels *axes"]:
    """For Linf: within a random window every channel goes to one edge of the threat (algorithm 2).

    Signs that would change nothing are turned over, so that no query is lost (the authors' code draws again).
    """
    window = _inside(_window(inputs, side, noise.at(0)), side)
    signs = _signs(noise.at(1), inputs, inputs.shape[1], *[1] * (inputs.dim() - 2))
    edges = [threat.project(inputs + sign * threat.radius * signs, inputs) for sign in (1, -1)]
    idle = per_image((window & (edges[0] != best)).flatten(1).any(1).logical_not(), inputs)
    return torch.where(window, torch.where(idle, edges[1], edges[0]), best)


def reweigh(
    best: Float[Tensor, "images channels *axes"],
    inputs: Float[Tensor, "images channels *axes"],
    threat: Threat,
    side: int,
    noise: Noise,
) -> Float[Tensor, "images channels *axes"]:
    """For L2: what a second window spends of the radius goes to a two-sided pattern in the first (algorithm 3)."""
    channels, rank = inputs.shape[1], inputs.dim() - 2
    places = _window(inputs, side, noise.at(0))
    first, second = _inside(places, side), _inside(_window(inputs, side, noise.at(1)), side)
    orientations = noise.at(2).integers(rank, *[1] * (rank + 1))
    pattern = two_sided(side, rank).to(inputs)[(orientations, *[place.clamp(0, side - 1) for place in places])]
    moved = best - inputs
    unspent = (threat.radius**2 - moved.square().flatten(1).sum(1)).clamp_min(0)
    available = _squared_lengths(moved * (first | second)) + per_image(unspent / channels, inputs)
    direction = _unit(moved * first) + pattern * first * _signs(noise.at(3), inputs, channels, *[1] * rank)
    changed = torch.where(first, _unit(direction) * available.sqrt(), moved * ~second)
    return threat.project(inputs + threat.radius * threat.steepest(changed), inputs)


@lru_cache
def two_sided(side: int, rank: int) -> Float[Tensor, "orientations *sides"]:
    """The pattern of length one that rises on one half of a cube and falls on the other, along each axis (eq. 2)."""
    cube = [side] * rank
    halves = [_hill([length, *cube[1:]]) for length in (side // 2, side - side // 2)]
    pattern = torch.cat([halves[0], -halves[1]])
    return torch.stack([pattern.movedim(0, axis) for axis in range(rank)]) / pattern.norm()


def _hill(sizes: list[int]) -> Tensor:
    """Cubes around the middle stacked on each other, 1 / (k + 1)^2 high where they reach k from it; of length one."""
    distances = torch.zeros(sizes, dtype=torch.int64)
    for axis, size in enumerate(sizes):
        away = (torch.arange(size) - size // 2).abs()
        distances = torch.maximum(distances, away.view([-1 if other == axis else 1 for other in range(len(sizes))]))
    reaches = range(max(sizes) // 2 + 1)
    hill = torch.stack([(distances <= reach).double() / (reach + 1) ** 2 for reach in reaches]).sum(0)
    return hill / hill.norm()


def _window(inputs: Tensor, side: int, noise: Noise) -> list[Tensor]:
    """Along each axis, how far every place is from where the image's window begins."""
    return [
        _coordinates(inputs, axis) - per_image(noise.at(axis).integers(size - side + 1), inputs)
        for axis, size in enumerate(inputs.shape[2:])
    ]


def _inside(places: list[Tensor], side: int) -> Bool[Tensor, "images 1 *axes"]:
    return _all([(place >= 0) & (place < side) for place in places])


def _all(conditions: list[Tensor]) -> Bool[Tensor, "images 1 *axes"]:
    inside = conditions[0]
    for condition in conditions[1:]:
        inside = inside & condition
    return inside


def _coordinates(inputs: Tensor, axis: int) -> Tensor:
    """0, 1, 2, ... along one axis of the signals."""
    shape = [1] * inputs.dim()
    shape[axis + 2] = -1
    return torch.arange(inputs.shape[axis + 2], device=inputs.device).view(shape)


def _signs(noise: Noise, like: Tensor, *shape: int) -> Tensor:
    return 2 * noise.integers(2, *shape).to(like.dtype) - 1


def _squared_lengths(signals: Tensor) -> Tensor:
    """Of every channel."""
    return signals.square().sum(tuple(range(2, signals.dim())), keepdim=True)


def _unit(signals: Tensor) -> Tensor:
    """Every channel scaled to length one; zero stays zero."""
    return F.normalize(signals.flatten(2), dim=2).view_as(signals)
