import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, multinomial, t

from retemper.errors import SettingError
from retemper.evaluation import paired_difference, wilson


@given(st.integers(1, 2000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
@settings(deadline=None)
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(0.95, method="wilson")
    assert wilson(*counts) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 200), (200, 200), (37.5, 200)])
def test_wilson_solves_its_defining_equation(successes: float, trials: int) -> None:
    # Its ends are the shares p at which the observed share is 1.96 standard errors away: (s - p)^2 = z^2 p (1 - p) / n.
    share, z = successes / trials, 1.959963984540054
    for end in wilson(successes, trials):
        assert (share - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / trials, abs=1e-12)
    low, high = wilson(successes, trials)
    assert 0 <= low <= share <= high <= 1
    assert high - low > 0


def test_no_image_has_no_interval() -> None:
    with pytest.raises(SettingError, match="one image or more, of which a share is known, but got 0"):
        wilson(0, 0)
    with pytest.raises(SettingError, match="on which two shares differ, but got none"):
        paired_difference([np.zeros(0, bool)], [np.zeros(0, bool)])


def plain_paired(ours: list[list[bool]], theirs: list[list[bool]]) -> tuple[float, float, float]:
    images = len(ours[0])
    differences = []
    for image in range(images):
        first = sum(row[image] for row in ours) / len(ours)
        second = sum(row[image] for row in theirs) / len(theirs)
        differences.append(first - second)
    mean = sum(differences) / images
    # Two images more: 1, 0, 0 and -1 with weight one half add nothing to the sum and 1 to the sum of squares.
    count, centre = images + 2, sum(differences) / (images + 2)
    squares = sum(d * d for d in differences) + 1
    variance = (squares - count * centre**2) / (count - 1)
    half = float(t.ppf(0.975, count - 1)) * math.sqrt(variance / count)
    return mean, max(-1.0, centre - half), min(1.0, centre + half)


@given(st.integers(1, 60), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31))
@settings(deadline=None)
def test_paired_difference_is_that_of_a_plain_loop(images: int, seeds: int, others: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    ours, theirs = random.random((seeds, images)) < 0.6, random.random((others, images)) < 0.4
    mean, low, high = plain_paired(ours.tolist(), theirs.tolist())
    found, interval = paired_difference(ours, theirs)
    assert (found, *interval) == pytest.approx((mean, low, high), abs=1e-12)


@given(st.integers(1, 40), st.integers(0, 2**31))
@settings(deadline=None)
def test_the_other_way_round_it_is_the_negative(images: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    ours, theirs = random.random((2, images)) < 0.6, random.random((3, images)) < 0.4
    mean, interval = paired_difference(ours, theirs)
    back, reversed_interval = paired_difference(theirs, ours)
    assert back == pytest.approx(-mean)
    assert reversed_interval == pytest.approx((-interval.high, -interval.low))


@pytest.mark.parametrize("images", [1, 2, 50])
@pytest.mark.parametrize("difference", [-1, 0, 1])
def test_images_that_all_agree_leave_an_interval_that_narrows_with_their_number(images: int, difference: int) -> None:
    ours = np.full((1, images), difference > 0)
    theirs = np.full((1, images), difference < 0)
    mean, (low, high) = paired_difference(ours, theirs)
    more = paired_difference(ours.repeat(4, 1), theirs.repeat(4, 1))[1]
    assert mean == difference
    assert -1 <= low <= difference <= high <= 1
    assert 0 < more.high - more.low < high - low


@pytest.mark.parametrize(("gains", "losses"), [(0.01, 0.02), (0.05, 0.05), (0.2, 0.05)])
def test_the_paired_interval_covers_the_true_difference_as_often_as_it_says(gains: float, losses: float) -> None:
    # Exactly, over every count of images that only one of both answers: a plain t interval covers 60 % in the first.
    images, covered = 30, 0.0
    for gained in range(images + 1):
        for lost in range(images + 1 - gained):
            same = images - gained - lost
            chance = multinomial.pmf([gained, lost, same], images, [gains, losses, 1 - gains - losses])
            if chance < 1e-6:
                continue
            ours = np.array([[True] * gained + [False] * (lost + same)])
            theirs = np.array([[False] * gained + [True] * lost + [False] * same])
            low, high = paired_difference(ours, theirs)[1]
            covered += chance * (low <= gains - losses <= high)
    assert covered >= 0.945


@given(st.integers(1, 20_000))
def test_all_and_none_reach_the_ends_exactly(trials: int) -> None:
    """A rounding below 1 would refute a claim of all, which every image bears out."""
    assert wilson(trials, trials).high == 1
    assert wilson(0, trials).low == 0
