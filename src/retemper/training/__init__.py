"""Retraining: a short loop on Hugging Face Accelerate."""

from retemper.training.fit import check_fit
from retemper.training.fresh import fresh
from retemper.training.optimisers import OPTIMISERS, SCHEDULES
from retemper.training.run import Training, retrain
from retemper.training.settings import Settings

__all__ = ["OPTIMISERS", "SCHEDULES", "Settings", "Training", "check_fit", "fresh", "retrain"]
