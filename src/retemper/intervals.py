"""What an interval is, and how sure all of ours are."""

from typing import NamedTuple

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Lower and upper end."""

    low: float
    high: float
