"""Robust accuracy as the worst case an image over several attacks, with its interval, its alarms and its verdict."""

from retemper.evaluation.alarms import Alarm
from retemper.evaluation.attack_plan import ATTACKS, BUDGETS, Attack, budget, plan
from retemper.evaluation.bundle import Bundle, read_bundle, write_bundle
from retemper.evaluation.claim import Claim, Verdict, judge, parse_claim
from retemper.evaluation.curve import Curve
from retemper.evaluation.evaluate import evaluate
from retemper.evaluation.intervals import Interval, paired_difference, wilson
from retemper.evaluation.outcome import Evaluation, Example, Robustness

__all__ = [
    "ATTACKS",
    "BUDGETS",
    "Alarm",
    "Attack",
    "Bundle",
    "Claim",
    "Curve",
    "Evaluation",
    "Example",
    "Interval",
    "Robustness",
    "Verdict",
    "budget",
    "evaluate",
    "judge",
    "paired_difference",
    "parse_claim",
    "plan",
    "read_bundle",
    "wilson",
    "write_bundle",
]
