import hashlib
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from retemper.noise import Noise

MASK = (1 << 64) - 1


def splitmix64(state: int, count: int) -> list[int]:
    """As Steele, Lea & Flood print it, on unsigned numbers."""
    outputs = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        outputs.append(z ^ (z >> 31))
    return outputs


def signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def test_the_reference_gives_the_published_numbers() -> None:
    # The test vector of Vigna's splitmix64.c for the seed 1234567.
    assert splitmix64(1234567, 5) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(st.integers(0, MASK), min_size=1, max_size=4), st.sampled_from([(7,), (2, 3), (1, 1, 5), ()]))
@settings(deadline=None)
def test_every_image_draws_splitmix64_from_its_own_key(keys: list[int], shape: tuple[int, ...]) -> None:
    noise = Noise(torch.tensor([signed(key) for key in keys]))
    count = math.prod(shape)
    double, single = noise.uniform(*shape, dtype=torch.float64), noise.uniform(*shape)
    assert double.shape == single.shape == (len(keys), *shape)
    for image, key in enumerate(keys):
        bits = splitmix64(key, count)
        assert double[image].flatten().tolist() == [(number >> 11) / 2**53 for number in bits]
        assert single[image].flatten().tolist() == [(number >> 40) / 2**24 for number in bits]


@given(st.integers(0, MASK), st.integers(0, 1000))
@settings(deadline=None)
def test_the_key_of_a_step_is_the_mixed_sum_of_key_and_number(key: int, number: int) -> None:
    before = (key + 0x9E3779B97F4A7C15 * 2 * number) & MASK
    assert Noise(torch.tensor([signed(key)])).at(number).keys.item() == signed(splitmix64(before, 1)[0])


def test_keys_hang_on_the_image_the_seed_and_the_name() -> None:
    noise = Noise.keyed(torch.tensor([0, 5]), seed=3, name="apgd-ce")
    digest = int.from_bytes(hashlib.blake2b(b"3/apgd-ce", digest_size=8).digest(), "little")
    for image, key in zip((0, 5), noise.keys.tolist(), strict=True):
        start = (digest + (image - 1) * 0x9E3779B97F4A7C15) & MASK
        assert key == signed(splitmix64(start, 1)[0])
    every = [
        Noise.keyed(torch.arange(50), seed, name).keys for seed in (0, 1, 2**40) for name in ("", "pgd", "apgd", "1/a")
    ]
    assert len(torch.cat(every).unique()) == 50 * 12


def test_a_batch_without_numbers_is_counted_from_zero() -> None:
    inputs = torch.rand(4, 2)
    assert torch.equal(Noise.for_batch(inputs, 7).keys, Noise.keyed(torch.arange(4), 7).keys)


def test_keys_out_of_a_generator_follow_it_and_leave_the_global_one_alone() -> None:
    state = torch.get_rng_state()
    first, second = (Noise.drawn(5, torch.Generator().manual_seed(seed)).keys for seed in (1, 2))
    assert torch.equal(first, Noise.drawn(5, torch.Generator().manual_seed(1)).keys)
    assert len(torch.cat([first, second]).unique()) == 10
    assert (first < 0).any(), "all 64 bits are drawn, the sign among them"
    assert torch.equal(torch.get_rng_state(), state)


DRAWS: dict[str, Callable[[Noise], Tensor]] = {
    "uniform": lambda noise: noise.uniform(3, 2),
    "normal": lambda noise: noise.normal(3, 2),
    "integers": lambda noise: noise.integers(10**6, 3, 2),
    "of step 4": lambda noise: noise.at(4).uniform(3, 2),
    "one number": lambda noise: noise.uniform(),
}


@given(st.permutations(range(8)), st.integers(1, 8), st.sampled_from(sorted(DRAWS)))
@settings(deadline=None)
def test_an_image_gets_the_same_numbers_in_any_batch_and_order(order: list[int], size: int, draw: str) -> None:
    places = torch.tensor(order[:size])
    noise = Noise.keyed(torch.arange(8))
    whole = DRAWS[draw](noise)
    assert len(noise[places]) == size
    assert torch.equal(DRAWS[draw](noise[places]), whole[places])
    assert torch.equal(DRAWS[draw](Noise.keyed(places)), whole[places])
    stays = torch.zeros(8, dtype=torch.bool).index_fill(0, places, True)
    assert torch.equal(DRAWS[draw](noise[stays]), whole[stays])
    assert torch.equal(DRAWS[draw](noise), whole), "drawing does not use anything up"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_uniform_over_images_steps_and_coordinates(dtype: torch.dtype) -> None:
    one = Noise.keyed(torch.arange(1))
    drawn = {
        "coordinates": one.uniform(100_000, dtype=dtype),
        "images": Noise.keyed(torch.arange(100_000)).uniform(dtype=dtype),
        "steps": torch.cat([one.at(step).uniform(dtype=dtype) for step in range(5000)]),
    }
    for numbers in drawn.values():
        assert numbers.dtype == dtype
        assert numbers.min() >= 0
        assert numbers.max() < 1
        assert stats.kstest(numbers.flatten().double().numpy(), "uniform").pvalue > 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_numbers_keep_to_their_range(dtype: torch.dtype) -> None:
    noise = Noise.keyed(torch.arange(100))
    uniform, normal = noise.uniform(1000, dtype=dtype), noise.normal(1000, dtype=dtype)
    assert (uniform.dtype, normal.dtype) == (dtype, dtype)
    assert 0 <= float(uniform.min()) < float(uniform.max()) < 1
    assert abs(float(uniform.double().mean()) - 0.5) < 0.01
    assert normal.isfinite().all()
    assert abs(float(normal.double().std()) - 1) < 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_numbers_are_normal(dtype: torch.dtype) -> None:
    numbers = Noise.keyed(torch.arange(100)).normal(1000, dtype=dtype)
    assert numbers.dtype == dtype
    assert numbers.isfinite().all()
    assert stats.kstest(numbers.flatten().double().numpy(), "norm").pvalue > 0.01


@pytest.mark.parametrize("below", [1, 2, 7, 1000])
def test_integers_are_equally_frequent(below: int) -> None:
    numbers = Noise.keyed(torch.arange(100)).integers(below, 1000)
    assert numbers.dtype == torch.int64
    counts = np.bincount(numbers.flatten().numpy(), minlength=below)
    assert len(counts) == below
    if below > 1:
        assert stats.chisquare(counts).pvalue > 0.01


def test_double_precision_uses_53_bits_and_single_24() -> None:
    noise = Noise.keyed(torch.arange(4))
    for dtype, digits in ((torch.float64, 53), (torch.float32, 24)):
        scaled = noise.uniform(1000, dtype=dtype).double() * 2.0**digits
        assert torch.equal(scaled, scaled.round()), "a multiple of the smallest step"
        assert 0.4 < float((scaled % 2).mean()) < 0.6, "whose last bit is as random as the others"


def correlation(one: Tensor, other: Tensor) -> float:
    return abs(float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_images_steps_and_coordinates_are_not_correlated(kind: str) -> None:
    noise = Noise.keyed(torch.arange(300))
    numbers = torch.stack([getattr(noise.at(step), kind)(300, dtype=torch.float64) for step in range(4)])
    limit = 5 / math.sqrt(300 * 300)  # five standard errors
    assert correlation(numbers[:, :-1], numbers[:, 1:]) < limit, "images"
    assert correlation(numbers[:-1], numbers[1:]) < limit, "steps"
    assert correlation(numbers[..., :-1], numbers[..., 1:]) < limit, "coordinates"
    assert correlation(numbers[0, :, :-1], numbers[1, :, 1:]) < limit, "steps, one coordinate on"
    assert correlation(numbers[0], numbers[0].T) < limit, "image i at coordinate j with image j at coordinate i"
    nested = getattr(noise.at(1).at(2), kind)(300, dtype=torch.float64)
    assert correlation(nested, getattr(noise.at(2).at(1), kind)(300, dtype=torch.float64)) < limit
    assert correlation(nested, getattr(noise, kind)(300, dtype=torch.float64)) < limit
    others = [Noise.keyed(torch.arange(300), 1), Noise.keyed(torch.arange(300), 0, "other")]
    for other in others:
        assert correlation(getattr(other.at(0), kind)(300, dtype=torch.float64), numbers[0]) < limit


def test_noise_is_drawn_where_the_keys_are() -> None:
    noise = Noise.keyed(torch.arange(3, device="meta"))
    for numbers in (noise.uniform(2), noise.at(1).normal(2, dtype=torch.float64), noise.integers(5, 2)):
        assert numbers.device.type == "meta"
