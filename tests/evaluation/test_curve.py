from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retemper.evaluation import Curve, wilson

INF = float("inf")
distances_found = st.lists(
    st.one_of(st.just(0.0), st.just(INF), st.sampled_from([0.05, 0.1, 0.2]), st.floats(1e-6, 3)),
    min_size=1,
    max_size=30,
)


def curve(distances: list[float], reach: float = 0.2) -> Curve:
    return Curve("linf", (0.0, 1.0), np.array(distances), reach, True, torch.zeros(len(distances), 2))


@given(distances_found, st.floats(0, 4))
def test_accuracy_is_the_share_of_images_that_nothing_broke_within_the_radius(
    distances: list[float], radius: float
) -> None:
    standing = sum(distance > radius for distance in distances)
    found = curve(distances)
    assert found.accuracy(radius) == pytest.approx(standing / len(distances), abs=1e-12)
    assert found.interval(radius) == wilson(standing, len(distances))


@given(distances_found, st.lists(st.floats(0, 4), min_size=2))
def test_the_curve_never_rises(distances: list[float], radii: list[float]) -> None:
    found = curve(distances)
    for smaller, larger in pairwise(sorted(radii)):
        assert found.accuracy(larger) <= found.accuracy(smaller)


@given(distances_found, st.floats(0, 0.2))
def test_the_steps_say_all_that_the_curve_says_within_reach(distances: list[float], radius: float) -> None:
    found = curve(distances)
    steps = found.steps()
    assert steps[0] == (0, found.accuracy(0))
    for (smaller, higher), (larger, lower) in pairwise(steps):
        assert smaller < larger <= found.reach
        assert lower < higher
    at_or_before = [accuracy for place, accuracy in steps if place <= radius]
    assert at_or_before[-1] == found.accuracy(radius)


def test_steps_of_four_images() -> None:
    assert curve([0.0, 0.1, INF, 0.1]).steps() == [(0.0, 0.75), (0.1, 0.25)]
    assert curve([0.3, INF]).steps() == [(0.0, 1.0)], "beyond its reach the curve says nothing"


def test_json_has_null_where_nothing_broke_an_image() -> None:
    assert curve([0.0, 0.1, INF]).as_json() == {
        "norm": "linf",
        "bounds": (0.0, 1.0),
        "reach": 0.2,
        "closest": True,
        "distances": [0.0, 0.1, None],
    }
