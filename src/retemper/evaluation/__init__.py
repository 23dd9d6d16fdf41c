"""Robust accuracy as the worst case an image over several attacks, with its interval."""

from retemper.evaluation.attack_plan import ATTACKS, Attack, plan
from retemper.evaluation.evaluate import Evaluation, Example, Robustness, evaluate
from retemper.evaluation.intervals import Interval, paired_difference, wilson

__all__ = [
    "ATTACKS",
    "Attack",
    "Evaluation",
    "Example",
    "Interval",
    "Robustness",
    "evaluate",
    "paired_difference",
    "plan",
    "wilson",
]
