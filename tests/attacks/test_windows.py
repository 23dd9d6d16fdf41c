import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyautoattack.square import SquareAttack

from retemper.attacks.windows import odd_side_of, repaint, reweigh, side_of, stripes, tiles, two_sided
from retemper.noise import Noise
from retemper.threats import L2, Linf

SHAPES = [(40, 2, 9), (40, 1, 8, 8), (40, 3, 7, 10), (40, 1, 5, 6, 7)]


def inside(*shape: int) -> torch.Tensor:
    return 0.25 + 0.5 * torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@given(st.floats(1e-4, 1), st.lists(st.integers(1, 40), min_size=1, max_size=3))
@settings(deadline=None)
def test_a_window_covers_the_share_as_far_as_whole_places_fit(share: float, axes: list[int]) -> None:
    side = side_of(share, tuple(axes))
    wanted = (share * math.prod(axes)) ** (1 / len(axes))
    assert 1 <= side <= min(axes)
    assert side in (1, min(axes)) or abs(side - wanted) <= 0.5
    odd = odd_side_of(share, tuple(axes))
    assert odd == min(axes) or (odd % 2 == 1 and odd >= 3 and 0 <= odd - side <= 2)


@pytest.mark.parametrize("side", range(1, 12))
def test_the_pattern_is_the_official_one_both_ways_round(side: int) -> None:
    official = SquareAttack(None, norm="L2", device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = [official.eta(side).double() for _ in range(20)]
    ours = two_sided(side, 2)
    for pattern in drawn:
        assert min(float((pattern - one).abs().max()) for one in ours) < 1e-6
    for one in ours:
        assert min(float((pattern - one).abs().max()) for pattern in drawn) < 1e-6


@pytest.mark.parametrize("side", [1, 2, 5])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_patterns_have_length_one_and_rise_along_one_axis(side: int, rank: int) -> None:
    patterns = two_sided(side, rank)
    assert patterns.shape == (rank, *[side] * rank)
    torch.testing.assert_close(patterns.flatten(1).norm(dim=1), torch.ones(rank).double())
    for axis, pattern in enumerate(patterns):
        assert (pattern.narrow(axis, 0, side // 2) > 0).all()
        assert (pattern.narrow(axis, side // 2, side - side // 2) < 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_stripes_are_signs_that_change_along_the_last_axis_alone(shape: tuple[int, ...]) -> None:
    drawn = stripes(inside(*shape), Noise.for_batch(inside(*shape)))
    assert drawn.shape == shape
    assert drawn.unique().tolist() == [-1, 1]
    rows = drawn.reshape(*shape[:2], -1, shape[-1])
    assert (rows == rows[:, :, :1]).all()
    for axis in (0, 1, -1):
        assert shape[axis] == 1 or (rows != rows.narrow(axis, 0, 1)).any()


@pytest.mark.parametrize("shape", [(6, 3, 11, 13), (6, 2, 12), (6, 1, 10, 10, 11), (6, 1, 3, 4)])
def test_every_tile_is_a_pattern_with_its_own_sign_and_the_rest_is_zero(shape: tuple[int, ...]) -> None:
    inputs = inside(*shape)
    drawn = tiles(inputs, Noise.for_batch(inputs))
    axes = shape[2:]
    side = max(min(axes) // 5, 1)
    patterns = [sign * one for one in two_sided(side, len(axes)) for sign in (1, -1)]
    covered, chosen = torch.zeros(shape, dtype=torch.bool), set()
    for tile in np.ndindex(*[size // side for size in axes]):
        first = [size % side // 2 + number * side for size, number in zip(axes, tile, strict=True)]
        place = (slice(None), slice(None), *[slice(begin, begin + side) for begin in first])
        covered[place] = True
        for image in drawn[place]:
            kinds = [next(kind for kind, one in enumerate(patterns) if torch.allclose(one, part)) for part in image]
            assert len({kind // 2 for kind in kinds}) == 1, "one orientation for all channels"
            chosen.update(kinds)
    assert not drawn[~covered].any()
    assert len(chosen) == (2 if side == 1 else len(patterns))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [1, 3])
def test_repainting_takes_one_window_of_every_channel_to_one_edge(shape: tuple[int, ...], side: int) -> None:
    inputs = inside(*shape)
    corners, signs = set(), set()
    for step in range(20):
        changed = repaint(inputs, inputs, Linf(0.1), side, Noise.for_batch(inputs).at(step))
        for image, before in zip(changed, inputs, strict=True):
            moved = image - before
            places = (moved[0] != 0).nonzero()
            assert len(places) == side ** (len(shape) - 2)
            corner, last = places.amin(0), places.amax(0)
            assert (last - corner == side - 1).all()
            for channel in moved:
                assert torch.equal((channel != 0).nonzero(), places)
                (edge,) = channel[channel != 0].mul(10).round().unique().tolist()
                assert channel[channel != 0].tolist() == pytest.approx([edge / 10] * len(places))
                signs.add(edge)
            corners.add(tuple(corner.tolist()))
    assert signs == {-1.0, 1.0}
    # Of 800 windows some reach every edge, the last row and column included.
    for axis, size in enumerate(shape[2:]):
        assert {corner[axis] for corner in corners} == set(range(size - side + 1))


def test_no_query_is_lost_on_signs_that_are_there_already() -> None:
    inputs = inside(50, 1, 4, 4)
    best = inputs + 0.1
    for step in range(5):
        changed = repaint(best, inputs, Linf(0.1), 2, Noise.for_batch(inputs).at(step))
        assert ((changed != best).flatten(1).sum(1) == 4).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_reweighing_reaches_the_whole_radius_in_any_number_of_axes(shape: tuple[int, ...]) -> None:
    inputs = inside(*shape)
    threat, noise = L2(0.2, (-9, 9)), Noise.for_batch(inputs)
    best = threat.random_start(inputs, noise)
    changed = reweigh(best, inputs, threat, 3, noise.at(1))
    assert (changed != best).flatten(1).any(1).all()
    torch.testing.assert_close(threat.distance(changed, inputs), torch.full((40,), 0.2).double())


Corner = tuple[int, ...]


def algorithm_3(
    moved: np.ndarray, radius: float, first: Corner, second: Corner, pattern: np.ndarray, signs: tuple[int, int]
) -> np.ndarray:
    """Algorithm 3 of the paper on one image with corners, pattern and signs given, then scaled to the radius."""
    side = len(pattern)
    channels = len(moved)
    one = (slice(first[0], first[0] + side), slice(first[1], first[1] + side))
    two = (slice(second[0], second[0] + side), slice(second[1], second[1] + side))
    mask = np.zeros(moved.shape[1:], dtype=bool)
    mask[one] = mask[two] = True
    unused = max(radius**2 - (moved**2).sum(), 0)
    changed = moved.copy()
    for channel in range(channels):
        here = moved[channel][one]
        mixed = signs[channel] * pattern + here / np.sqrt((here**2).sum())
        available = np.sqrt((moved[channel][mask] ** 2).sum() + unused / channels)
        changed[channel][two] = 0
        changed[channel][one] = mixed / np.sqrt((mixed**2).sum()) * available
    return changed / np.sqrt((changed**2).sum()) * radius


def test_reweighing_is_algorithm_3_for_some_draw_of_windows_orientation_and_signs() -> None:
    inputs = inside(30, 2, 4, 5)
    threat, noise = L2(0.2, (-9, 9)), Noise.for_batch(inputs)
    best = threat.project(inputs + 0.7 * (threat.random_start(inputs, noise) - inputs), inputs)
    changed = (reweigh(best, inputs, threat, 3, noise.at(1)) - inputs).numpy()
    corners = list(np.ndindex(2, 3))
    draws = [
        (first, second, pattern, (one, other))
        for first in corners
        for second in corners
        for pattern in two_sided(3, 2).numpy()
        for one in (-1, 1)
        for other in (-1, 1)
    ]
    seen = set()
    for image in range(30):
        moved = (best - inputs)[image].numpy()
        fits = [
            number
            for number, draw in enumerate(draws)
            if np.allclose(algorithm_3(moved, 0.2, *draw), changed[image], atol=1e-9)
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 20, "each image draws its own"
