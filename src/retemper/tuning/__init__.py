"""Choosing what a training leaves open, on validation data alone."""

from retemper.tuning.score import RobustScore, early_stopping
from retemper.tuning.search import Trial
from retemper.tuning.weight import Tuned, tune

__all__ = ["RobustScore", "Trial", "Tuned", "early_stopping", "tune"]
