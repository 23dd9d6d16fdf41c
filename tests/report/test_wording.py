import math

import pytest

from retemper.evaluation import Interval
from retemper.report import wording
from retemper.threats import parse

NAN = math.nan


def test_a_number_that_is_none_is_never_printed() -> None:
    texts = [
        wording.share(NAN),
        wording.interval(Interval(NAN, 1)),
        wording.points(NAN),
        wording.ratio([NAN, 1]),
        wording.ratio([]),
        wording.duration([NAN]),
    ]
    assert texts == [wording.UNKNOWN] * len(texts)


@pytest.mark.parametrize(("difference", "text"), [(-0.123, "−12.3"), (0.0004, "0.0"), (-0.0004, "0.0"), (1, "+100.0")])
def test_differences_carry_a_sign_unless_they_round_to_zero(difference: float, text: str) -> None:
    assert wording.points(difference) == text


@pytest.mark.parametrize(("seconds", "text"), [(119.94, "119.9\xa0s"), (120, "2.0\xa0min"), (7200, "2.0\xa0h")])
def test_durations_change_their_unit_at_two_of_the_next(seconds: float, text: str) -> None:
    assert wording.duration([seconds]) == text


@pytest.mark.parametrize(
    ("threat", "norm", "radius"), [("linf:8/255", "L∞", "8/255"), ("l2:0.5", "L2", "0.5"), ("linf:0.1", "L∞", "0.1")]
)
def test_threats_are_spelled_as_they_were_given(threat: str, norm: str, radius: str) -> None:
    (parsed,) = parse(threat)
    assert (wording.norm(parsed), wording.radius(parsed)) == (norm, radius)


@pytest.mark.parametrize(("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ("abc", "a, b and c")])
def test_listings_read_as_in_a_sentence(items: list[str], text: str) -> None:
    assert wording.listing(items) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 0.008, "0.0 to +0.8"),
        (0.0002, 0.01, "+0.02 to +1.0"),
        (-0.01, -0.0003, "−1.0 to −0.03"),
        (0, 1e-17, "0.0 to 0.0"),
    ],
)
def test_an_end_that_is_not_zero_is_not_shown_as_zero(low: float, high: float, text: str) -> None:
    assert wording.points_interval(Interval(low, high)) == text
