"""Numbers as a reader sees them: shares, intervals, gains, ratios, times and threats."""

import math
from collections.abc import Sequence

from retemper.evaluation import Interval
from retemper.threats import Threat

UNKNOWN = "–"  # what stands where a number is missing or is not finite
SPACE = "\N{NO-BREAK SPACE}"

_NORMS = {"linf": "L∞", "l2": "L2"}


def share(value: float) -> str:
    r"""A share in [0, 1] as a percentage.

    >>> share(0.621)
    '62.1\xa0%'
    """
    return f"{100 * value:.1f}{SPACE}%" if math.isfinite(value) else UNKNOWN


def interval(ends: Interval) -> str:
    """The ends of a share's interval, in per cent.

    >>> interval(Interval(0.582, 0.659))
    '58.2–65.9'
    """
    if not all(map(math.isfinite, ends)):
        return UNKNOWN
    return f"{100 * ends.low:.1f}–{100 * ends.high:.1f}"


def points(difference: float, digits: int = 1) -> str:
    """A difference of two shares in percentage points, with its sign, unless it rounds to zero.

    >>> points(0.123), points(-0.04), points(-0.0001)
    ('+12.3', '−4.0', '0.0')
    """
    if not math.isfinite(difference):
        return UNKNOWN
    text = f"{abs(100 * difference):.{digits}f}"
    sign = "" if float(text) == 0 else "−" if difference < 0 else "+"
    return sign + text


def _side(difference: float) -> str:
    """`points`, with up to four digits where fewer show zero."""
    shown = [points(difference, digits) for digits in range(1, 5)]
    return next((one for one in shown if one.startswith(("+", "−"))), shown[0])


def points_interval(ends: Interval) -> str:
    """The ends of a difference's interval, in percentage points.

    An end near zero has as many digits as tell on which side it lies.

    >>> points_interval(Interval(-0.01, 0.02)), points_interval(Interval(0.0002, 0.01))
    ('−1.0 to +2.0', '+0.02 to +1.0')
    """
    return " to ".join(_side(end) for end in ends)


def ratio(values: Sequence[float]) -> str:
    """The mean of ratios, one a seed.

    >>> ratio([3, 3.2])
    '3.1×'
    """
    return f"{_mean(values):.1f}×" if values and math.isfinite(_mean(values)) else UNKNOWN


def spread(values: Sequence[float]) -> str:
    """The lowest and the highest ratio; empty where there is one seed.

    >>> spread([3, 3.2]), spread([3])
    ('3.0–3.2', '')
    """
    return f"{min(values):.1f}–{max(values):.1f}" if len(values) > 1 else ""


def duration(seconds: Sequence[float]) -> str:
    r"""The mean of times, one a seed, in the unit that fits.

    >>> duration([8, 12]), duration([200]), duration([9000])
    ('10.0\xa0s', '3.3\xa0min', '2.5\xa0h')
    """
    mean = _mean(seconds)
    if not math.isfinite(mean):
        return UNKNOWN
    for unit, size in (("h", 3600), ("min", 60)):
        if mean >= 2 * size:
            return f"{mean / size:.1f}{SPACE}{unit}"
    return f"{mean:.1f}{SPACE}s"


def norm(threat: Threat) -> str:
    """The norm as it is written.

    >>> from retemper.threats import Linf
    >>> norm(Linf(0.1))
    'L∞'
    """
    return _NORMS.get(threat.norm, threat.norm)


def radius(threat: Threat) -> str:
    """The radius as it was given.

    >>> from retemper.threats import Linf
    >>> radius(Linf(8 / 255))
    '8/255'
    """
    return str(threat).partition(":")[2]


def threat(threat: Threat) -> str:
    r"""Norm and radius.

    >>> from retemper.threats import L2
    >>> threat(L2(0.5))
    'L2\xa00.5'
    """
    return f"{norm(threat)}{SPACE}{radius(threat)}"


def threats(several: Sequence[Threat]) -> str:
    r"""Norms and radii as a sentence lists them.

    >>> from retemper.threats import L2, Linf
    >>> threats([Linf(0.1), L2(0.5)])
    'L∞\xa00.1 and L2\xa00.5'
    """
    return listing([threat(each) for each in several])


def listing(items: Sequence[str]) -> str:
    """Items as a sentence lists them.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def count(number: int, noun: str) -> str:
    r"""A number and what it counts.

    >>> count(1, "seed"), count(2, "seed"), count(1797, "image")
    ('1\xa0seed', '2\xa0seeds', '1,797\xa0images')
    """
    return f"{number:,}{SPACE}{noun}{'' if number == 1 else 's'}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
